/**
 * Metrics of the daemon as a whole: what it is, how it is, what it takes, how its databases are filled.
 *
 * @module
 */

import process from "node:process";
import { Counter, Gauge, type Registry } from "prom-client";
import { VERSION } from "../version.ts";
import type { HealthState } from "./health_watch.ts";

/** How far a database is filled. */
export interface DatabaseUse {
  readonly usedBytes: number;
  readonly mapBytes: number;
  readonly staleReaders: number;
}

/** Values read at the moment of asking. */
export interface DaemonReadings {
  readonly state: HealthState;
  /** See `rates.ts`. */
  readonly hitRatio: number | null;
  readonly drainSeconds: number | null;
  /** By name: `manifest`, `access`. */
  readonly databases: Readonly<Record<string, DatabaseUse>>;
}

const STATES: readonly HealthState[] = ["healthy", "degraded", "failing"];

/** Adds the metrics to the registry. @param startedMs When the daemon was started, ms since 1970. */
export function addDaemonMetrics(
  registry: Registry,
  startedMs: number,
  readings: () => DaemonReadings,
): void {
  const registers = [registry];
  new Gauge({
    name: "p4cache_build_info",
    help: "Always 1; what runs is in the labels",
    labelNames: ["version", "runtime", "target"],
    registers,
  }).set({ version: VERSION, runtime: Deno.version.deno, target: Deno.build.target }, 1);
  new Gauge({
    name: "p4cache_start_time_seconds",
    help: "When the daemon was started",
    registers,
  }).set(startedMs / 1000);
  new Gauge({
    name: "p4cache_state",
    help: "1 for the state that the daemon is in",
    labelNames: ["state"],
    registers,
    collect() {
      const { state } = readings();
      for (const each of STATES) this.set({ state: each }, each === state ? 1 : 0);
    },
  });
  new Gauge({
    name: "p4cache_hit_ratio",
    help: "Share of opened files that were here, last five minutes; NaN when none was opened",
    registers,
    collect() {
      this.set(readings().hitRatio ?? NaN);
    },
  });
  new Gauge({
    name: "p4cache_drain_eta_seconds",
    help: "Time until every file is uploaded, at the present rate; +Inf without one",
    registers,
    collect() {
      this.set(readings().drainSeconds ?? Infinity);
    },
  });
  const database = (name: string, help: string, value: (use: DatabaseUse) => number) => {
    new Gauge({
      name: `p4cache_database_${name}`,
      help,
      labelNames: ["database"],
      registers,
      collect() {
        for (const [database, use] of Object.entries(readings().databases)) {
          this.set({ database }, value(use));
        }
      },
    });
  };
  new Counter({
    name: "p4cache_database_stale_readers_total",
    help: "Readers of processes that died, which would have kept old pages from reuse",
    labelNames: ["database"],
    registers,
    collect() {
      this.reset();
      for (const [database, use] of Object.entries(readings().databases)) {
        this.inc({ database }, use.staleReaders);
      }
    },
  });
  database("used_bytes", "Bytes of the LMDB environment in use", (use) => use.usedBytes);
  database("map_bytes", "Bytes the LMDB environment may grow to", (use) => use.mapBytes);
  addUsage(registers);
}

/** What the process takes of the machine. */
function addUsage(registers: Registry[]): void {
  new Gauge({
    name: "p4cache_memory_bytes",
    help:
      "Memory of the daemon: anonymous is its own; mapped is files' pages, which the kernel takes back",
    labelNames: ["kind"],
    registers,
    collect() {
      const status = Deno.readTextFileSync("/proc/self/status");
      const bytesOf = (name: string) =>
        1024 * Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, "m").exec(status)?.[1] ?? NaN);
      this.set({ kind: "anonymous" }, bytesOf("RssAnon"));
      this.set({ kind: "mapped" }, bytesOf("RssFile") + bytesOf("RssShmem"));
    },
  });
  new Counter({
    name: "p4cache_cpu_seconds_total",
    help: "Processor time that the daemon took",
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1e6);
    },
  });
}
