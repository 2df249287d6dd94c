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

/** Files remembered; of more, those that were put off first are tried again at once (P5). */
const MAX_FILES = 10_000;

interface Wait {
  readonly untilMs: number;
  readonly delayMs: number;
}

/** See the module's description. */
export class PutOffFiles {
  readonly #waits = new Map<DepotPath, Wait>();

  /** Whether it is too early to try the file again. */
  has(path: DepotPath): boolean {
    const wait = this.#waits.get(path);
    return wait !== undefined && wait.untilMs > Date.now();
  }

  postpone(path: DepotPath): void {
    const last = this.#waits.get(path)?.delayMs ?? FIRST_DELAY_MS / 2;
    const delayMs = Math.min(last * 2, LONGEST_DELAY_MS);
    if (this.#waits.size >= MAX_FILES) this.#waits.delete(this.#waits.keys().next().value!);
    this.#waits.set(path, { untilMs: Date.now() + delayMs, delayMs });
  }

  forget(path: DepotPath): void {
    this.#waits.delete(path);
  }

  clear(): void {
    this.#waits.clear();
  }
}
