/**
 * The scheduled scrub: `verify --deep` over everything, slowly, again and again.
 *
 * A bit that flips on the disk or in the storage is found by nobody until somebody reads the file; by then the
 * other copy may be gone too. What is found is logged and counted, and changed by nobody.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Logger } from "@logtape/logtape";
import { Counter, Gauge, type Registry } from "prom-client";
import { describeError } from "../observe/logging.ts";
import { verify, type VerifyParts } from "./verify.ts";

/** How often it is looked whether a scrub is due, ms. */
const LOOK_MS = 60_000;

/** When and how fast. */
export interface ScrubLimits {
  /** Time between the ends of two scrubs; 0: none. */
  readonly scrubIntervalSeconds: number;
  readonly scrubFilesPerSecond: number;
}

/** See the module's description. */
export class Scrubber {
  readonly #parts: VerifyParts;
  readonly #limits: ScrubLimits;
  readonly #stamp: string;
  readonly #log: Logger;
  readonly #files: Counter;
  readonly #findings: Counter;
  readonly #last: Gauge;
  readonly #abort = new AbortController();
  #timer: number | null = null;
  #running: Promise<void> | null = null;

  /**
   * @param limits Read when they are needed.
   * @param stateDir Where the time of the last scrub is remembered over restarts.
   */
  constructor(
    parts: VerifyParts,
    limits: ScrubLimits,
    stateDir: string,
    registry: Registry,
    log: Logger,
  ) {
    this.#parts = parts;
    this.#limits = limits;
    this.#stamp = `${stateDir}/scrubbed`;
    this.#log = log;
    const registers = [registry];
    this.#files = new Counter({
      name: "p4cache_scrub_files_total",
      help: "Files that scheduled scrubs compared",
      registers,
    });
    this.#findings = new Counter({
      name: "p4cache_scrub_findings_total",
      help: "Differences that scheduled scrubs found",
      registers,
    });
    this.#last = new Gauge({
      name: "p4cache_scrub_last_timestamp_seconds",
      help: "When the last scrub ended; 0 before the first",
      registers,
    });
    this.#last.set(this.#lastSeconds() ?? 0);
  }

  /** Scrubs when it is due. A depot that was never scrubbed waits a whole interval. */
  start(): void {
    if (this.#lastSeconds() === null) this.#remember();
    this.#timer = setInterval(() => this.look(), LOOK_MS);
  }

  /** Begins a scrub if one is due. */
  look(): void {
    const { scrubIntervalSeconds: interval } = this.#limits;
    const last = this.#lastSeconds() ?? 0;
    if (interval === 0 || this.#running !== null || Date.now() / 1000 - last < interval) return;
    this.#running = this.#scrub().finally(() => this.#running = null);
  }

  /** Ends; a scrub under way begins anew when the daemon runs again. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#abort.abort();
    await this.#running;
  }

  async #scrub(): Promise<void> {
    const { signal } = this.#abort;
    const pace = () => delay(1000 / this.#limits.scrubFilesPerSecond);
    try {
      let files = 0, findings = 0;
      const run = verify(this.#parts, "", { deep: true, percent: 100, pace }, signal);
      for (let next = await run.next();; next = await run.next()) {
        this.#files.inc(next.value.files - files);
        files = next.value.files;
        if (next.done) break;
        for (const { kind, path, what } of next.value.found) {
          findings++;
          this.#findings.inc();
          this.#log.error(`${kind}: ${path}: ${what}`);
        }
      }
      if (signal.aborted) return;
      this.#remember();
      this.#log.info(`Scrub: ${files} files compared, ${findings} findings`);
    } catch (error) {
      if (!signal.aborted) this.#log.error(`The scrub did not end: ${describeError(error)}`);
    }
  }

  /** When the last one ended, seconds since the epoch; null: never. */
  #lastSeconds(): number | null {
    try {
      return (Deno.statSync(this.#stamp).mtime?.getTime() ?? 0) / 1000;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  #remember(): void {
    const now = new Date();
    Deno.writeTextFileSync(this.#stamp, `${now.toISOString()}\n`);
    this.#last.set(now.getTime() / 1000);
  }
}
