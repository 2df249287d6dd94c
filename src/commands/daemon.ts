/** Runs the daemon. @module */
import type { Config } from "../config/config.ts";

/** Runs until stopped; returns the exit code. */
export function runDaemon(_config: Config): Promise<number> {
  return Promise.reject(new Error("Cannot run the daemon yet"));
}
