/**
 * What the daemon tells at intervals: the stats line and the metrics file.
 *
 * @module
 */

import type { Config } from "../config/config.ts";
import { reasonOf } from "../errors.ts";
import { createRepeatLimiter, getLog } from "../observe/logging.ts";
import type { GaugeSnapshot, Metrics } from "../observe/metrics.ts";
import { writeMetricsFile, WritePace } from "../observe/metrics_file.ts";
import { statsLine } from "../observe/stats_line.ts";

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

/** What is told at intervals. */
export interface Reporting {
  /** Takes the intervals as they are now. */
  restart(): void;
  /** Ends; the last metrics are written. */
  stop(): Promise<void>;
}

/**
 * Starts telling.
 * @param config Its live settings are read when they are needed (`live.ts`).
 * @param conditions What is amiss: a change of it is told with the next interval.
 */
export function startReporting(
  config: Config,
  metrics: Metrics,
  snapshot: () => GaugeSnapshot,
  conditions: () => unknown,
): Reporting {
  const log = getLog("stats");
  const limited = createRepeatLimiter(REPEAT_MS);
  const pace = new WritePace();
  const writeMetrics = async () => {
    const path = config.metricsFile;
    if (path === null) return;
    try {
      await writeMetricsFile(path, await metrics.text());
    } catch (error) {
      pace.failed();
      const line = limited(
        `Cannot write the metrics file ${path}: ${reasonOf(error)}; its directory must be there, ` +
          "and writable for the daemon's user",
      );
      if (line !== null) log.warning(line);
    }
  };
  let writing: Promise<void> | null = null;
  // One at a time: a file system that hangs must not gather writes.
  const writeMetricsUnlessWriting = () => {
    if (writing !== null) return;
    const figures = snapshot();
    const state = JSON.stringify([config.metricsFile, metrics.totals(), figures, conditions()]);
    if (!pace.isDue(state, figures.dirty > 0, performance.now())) return;
    writing = writeMetrics().finally(() => writing = null);
  };
  const timers: number[] = [];
  const tell = () => log.info(statsLine(metrics.totals(), snapshot()));
  const restart = () => {
    for (const timer of timers.splice(0)) clearInterval(timer);
    if (config.metricsFile !== null) {
      writeMetricsUnlessWriting();
      timers.push(setInterval(writeMetricsUnlessWriting, config.metricsIntervalSeconds * 1000));
    }
    if (config.statsIntervalSeconds > 0) {
      timers.push(setInterval(tell, config.statsIntervalSeconds * 1000));
    }
  };
  restart();
  return {
    restart,
    stop: async () => {
      for (const timer of timers) clearInterval(timer);
      await writing;
      await writeMetrics();
    },
  };
}
