/**
 * The scheduled scrub: `verify --deep` over everything, slowly, again and again. A stop of the daemon is
 * only a pause: how far a scrub came is remembered.
 *
 * A bit that flips on the disk or in the storage is found by nobody until somebody reads the file; by then the
 * other copy may be gone too. What is found is logged and counted, and changed by nobody.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { Logger } from "@logtape/logtape";
import { Counter, Gauge, type Registry } from "prom-client";
import { type DepotPath, displayPath, pathFromBytes, pathToBytes } from "../depot_path.ts";
import { counted } from "../counted.ts";
import { describeError } from "../observe/logging.ts";
import { verify, type VerifyParts } from "./verify.ts";

/** How often it is looked whether a scrub is due, ms. */
const LOOK_MS = 60_000;

const NO_BYTES = new Uint8Array(0);

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
  readonly #place: string;
  readonly #log: Logger;
  readonly #files: Counter;
  readonly #findings: Counter;
  readonly #last: Gauge;
  readonly #abort = new AbortController();
  #timer: number | null = null;
  #running: Promise<void> | null = null;

  /**
   * @param limits Read when they are needed.
   * @param stateDir Where it is remembered when the last scrub ended, and how far one under way came.
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
    this.#place = `${stateDir}/scrub_place`;
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

  /** Begins a scrub if one is due, or goes on with the one that was interrupted. */
  look(): void {
    const { scrubIntervalSeconds: interval } = this.#limits;
    if (interval === 0 || this.#running !== null) return;
    const after = this.#interruptedAt();
    const last = this.#lastSeconds() ?? 0;
    if (after === null && Date.now() / 1000 - last < interval) return;
    this.#running = this.#scrub(after).finally(() => this.#running = null);
  }

  /** Ends; a scrub under way goes on when the daemon runs again. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#abort.abort();
    await this.#running;
  }

  async #scrub(after: DepotPath | null): Promise<void> {
    const { signal } = this.#abort;
    const pace = () => delay(1000 / this.#limits.scrubFilesPerSecond, { signal });
    try {
      let files = 0, findings = 0;
      if (after !== null) this.#log.info(`The scrub goes on behind ${displayPath(after)}`);
      const options = { deep: true, percent: 100, pace, after: after ?? pathFromBytes(NO_BYTES) };
      const run = verify(this.#parts, "", options, signal);
      for (let next = await run.next();; next = await run.next()) {
        this.#files.inc(next.value.files - files);
        files = next.value.files;
        if (next.done) break;
        for (const { kind, path, what } of next.value.found) {
          findings++;
          this.#findings.inc();
          this.#log.error(`${kind}: ${path}: ${what}`);
        }
        this.#cameTo(next.value.at);
      }
      if (signal.aborted) return;
      this.#remember();
      this.#log.info(`Scrub: ${counted(files, "file")} compared, ${counted(findings, "finding")}`);
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

  /** The last file that an interrupted scrub compared; null: there is none. */
  #interruptedAt(): DepotPath | null {
    try {
      return pathFromBytes(Deno.readFileSync(this.#place));
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return null;
      throw error;
    }
  }

  /** By one rename, since a part of a path would be another place. */
  #cameTo(path: DepotPath): void {
    Deno.writeFileSync(`${this.#place}.new`, pathToBytes(path));
    Deno.renameSync(`${this.#place}.new`, this.#place);
  }

  #remember(): void {
    const now = new Date();
    Deno.writeTextFileSync(this.#stamp, `${now.toISOString()}\n`);
    this.#last.set(now.getTime() / 1000);
    if (this.#interruptedAt() !== null) Deno.removeSync(this.#place);
  }
}
