/**
 * Metrics of configuration reloads.
 *
 * @module
 */

import { Counter, Gauge, type Registry } from "prom-client";

/** See the module's description. */
export class ReloadMetrics {
  readonly #reloads;
  readonly #last;
  readonly #lastOk;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#reloads = new Counter({
      name: "p4cache_config_reloads_total",
      help: "Reloads of the configuration",
      labelNames: ["result"],
      registers,
    });
    for (const result of ["success", "failure"]) this.#reloads.inc({ result }, 0);
    this.#last = new Gauge({
      name: "p4cache_config_last_reload_timestamp_seconds",
      help: "When the configuration in force was read",
      registers,
    });
    this.#last.setToCurrentTime();
    this.#lastOk = new Gauge({
      name: "p4cache_config_last_reload_successful",
      help: "0 when the latest reload was refused, and an older configuration is in force",
      registers,
    });
    this.#lastOk.set(1);
  }

  /** A reload ended. */
  done(ok: boolean): void {
    this.#reloads.inc({ result: ok ? "success" : "failure" });
    this.#lastOk.set(ok ? 1 : 0);
    if (ok) this.#last.setToCurrentTime();
  }
}
