/**
 * How fast things go: totals are sampled now and then, and rates are differences of samples.
 *
 * @module
 */

import type { Totals } from "./metrics.ts";

/** Time between two samples, ms. */
export const SAMPLE_MS = 5000;

/** Samples that are kept: five minutes of them, and the one before. */
const SAMPLES = 61;

/** Rates a second over the last samples. */
export interface Rates {
  readonly uploads: number;
  readonly uploadBytes: number;
  readonly restores: number;
  readonly restoreBytes: number;
  readonly evictions: number;
  readonly accesses: number;
  readonly shimRequests: number;
}

/** Transfers of the last five minutes. */
export interface Recently {
  readonly done: number;
  readonly failed: number;
}

interface Sample {
  readonly atMs: number;
  readonly totals: Totals;
}

/** See the module's description. */
export class RateMeter {
  readonly #samples: Sample[] = [];
  readonly #totals: () => Readonly<Totals>;
  readonly #nowMs: () => number;

  constructor(totals: () => Readonly<Totals>, nowMs: () => number = Date.now) {
    this.#totals = totals;
    this.#nowMs = nowMs;
    this.sample();
  }

  /** Takes a sample; called every {@link SAMPLE_MS}. */
  sample(): void {
    this.#samples.push(this.#now());
    if (this.#samples.length > SAMPLES) this.#samples.shift();
  }

  /** Rates over the last two samples and the time since. */
  rates(): Rates {
    const now = this.#now();
    const then = this.#samples.at(-2) ?? this.#samples[0]!;
    const seconds = Math.max(0.001, (now.atMs - then.atMs) / 1000);
    const rate = (total: (totals: Totals) => number) =>
      Math.round((total(now.totals) - total(then.totals)) / seconds * 10) / 10;
    return {
      uploads: rate((t) => t.uploadsOk),
      uploadBytes: rate((t) => t.uploadBytes),
      restores: rate((t) => t.restoresOk),
      restoreBytes: rate((t) => t.restoreBytes),
      evictions: rate((t) => t.evictions),
      accesses: rate((t) => t.accessEvents),
      shimRequests: rate((t) => t.shimFetched + t.shimNotFound),
    };
  }

  /** Transfers that ended in the last five minutes. */
  recently(): Recently {
    const { totals: now } = this.#now(), { totals: then } = this.#samples[0]!;
    const done = now.uploadsOk + now.restoresOk - then.uploadsOk - then.restoresOk;
    const failed = now.uploadsFailed + now.restoresFailed - then.uploadsFailed -
      then.restoresFailed;
    return { done, failed };
  }

  /** Share of opened files that did not have to be restored; null when none was opened. */
  hitRatio(): number | null {
    const { totals: now } = this.#now(), { totals: then } = this.#samples[0]!;
    const opened = now.accessEvents - then.accessEvents;
    if (opened <= 0) return null;
    const restored = now.restoresOk - then.restoresOk;
    return Math.max(0, Math.round(1000 * (opened - restored) / opened) / 1000);
  }

  /** Time until so many files and bytes are uploaded at the present rate; null without one. */
  drainSeconds(files: number, bytes: number): number | null {
    if (files === 0) return 0;
    const { uploads, uploadBytes } = this.rates();
    if (uploads === 0) return null;
    return Math.round(Math.max(files / uploads, uploadBytes === 0 ? 0 : bytes / uploadBytes));
  }

  #now(): Sample {
    return { atMs: this.#nowMs(), totals: { ...this.#totals() } };
  }
}
