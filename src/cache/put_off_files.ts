/**
 * Files whose upload failed or had to wait for a writer, and when each is looked at again: later every
 * time, until it succeeds or an event comes for it.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";

/** Wait after the first failure, ms. */
const FIRST_DELAY_MS = 500;

/** Wait after many, ms. */
export const LONGEST_DELAY_MS = 60_000;

/**
 * The same where the storage was not reached, ms: that says nothing about the file, and a storage that is
 * away is asked by one file at a time in any case.
 */
export const LONGEST_UNREACHED_MS = 5_000;

/** Files remembered; of more, those that were put off first are tried again at once (P5). */
const MAX_FILES = 10_000;

interface Wait {
  readonly untilMs: number;
  readonly delayMs: number;
}

/** See the module's description. */
export class PutOffFiles {
  readonly #waits = new Map<DepotPath, Wait>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number = Date.now) {
    this.#nowMs = nowMs;
  }

  /** Whether it is too early to try the file again. */
  has(path: DepotPath): boolean {
    const wait = this.#waits.get(path);
    return wait !== undefined && wait.untilMs > this.#nowMs();
  }

  /** @param longestMs Bound of the wait. */
  postpone(path: DepotPath, longestMs = LONGEST_DELAY_MS): void {
    const last = this.#waits.get(path)?.delayMs ?? FIRST_DELAY_MS / 2;
    const delayMs = Math.min(last * 2, longestMs);
    if (this.#waits.size >= MAX_FILES) this.#waits.delete(this.#waits.keys().next().value!);
    this.#waits.set(path, { untilMs: this.#nowMs() + delayMs, delayMs });
  }

  forget(path: DepotPath): void {
    this.#waits.delete(path);
  }

  clear(): void {
    this.#waits.clear();
  }
}
