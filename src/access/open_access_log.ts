/**
 * Opens the access log at start. It is of use, but not needed: with one that cannot be opened the
 * daemon serves all the same, and says so.
 *
 * @module
 */

import { pathFromText } from "../depot_path.ts";
import type { Config } from "../config/config.ts";
import { GIB } from "../config/kinds.ts";
import { createRepeatLimiter, describeError, getLog } from "../observe/logging.ts";
import type { Metrics } from "../observe/metrics.ts";
import { AccessLog } from "./access_log.ts";

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

const DAY_SECONDS = 86_400;

/** Makes the directory where it is missing; null when the log is turned off or cannot be used. */
export function openAccessLog(
  config: Config,
  metrics: Metrics,
  nowSeconds: () => number,
): AccessLog | null {
  if (!config.accessLogEnabled) return null;
  const log = getLog("access");
  const limited = createRepeatLimiter(REPEAT_MS);
  const dir = config.accessDbPath;
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o755 });
    return new AccessLog({
      dir: pathFromText(dir),
      mapBytes: config.accessMapsizeGib * GIB,
      batchSize: config.accessBatchSize,
      flushMs: config.accessFlushIntervalSeconds * 1000,
      syncMs: config.accessSyncIntervalSeconds * 1000,
      retentionSeconds: config.accessRetentionDays * DAY_SECONDS,
      nowSeconds,
      metrics,
      onError: (error) => {
        const line = limited(
          `Cannot keep the access log, accesses are lost: ${describeError(error)}`,
        );
        if (line !== null) log.warning(line);
      },
    });
  } catch (error) {
    log.error(
      `Accesses are not recorded: ${
        describeError(error)
      }; the directory must be writable for the daemon, ` +
        "a damaged log may be deleted while the daemon is stopped",
    );
    return null;
  }
}
