/**
 * The lane of large files, which wait beside the queue, so that the walk through it goes on.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import { Semaphore } from "./semaphore.ts";

/** Large files on their way at once, however many are allowed: more get no more done. */
const LARGE_AT_ONCE = 2;

/** Large files that wait in memory for their lane; others are found in the queue again (P5). */
const MAX_WAITING = 1000;

/** See the module. */
export class LargeLane {
  readonly #allowed: () => number;
  readonly #places: Semaphore;
  readonly #waiting = new Set<DepotPath>();

  /** @param allowed How many files may be on their way, as it is now. */
  constructor(allowed: () => number) {
    this.#allowed = allowed;
    this.#places = new Semaphore(this.#width);
  }

  get #width(): number {
    return Math.min(this.#allowed(), LARGE_AT_ONCE);
  }

  get isFull(): boolean {
    return this.#places.isFull;
  }

  /** Whether the file waits. */
  has(path: DepotPath): boolean {
    return this.#waiting.has(path);
  }

  add(path: DepotPath): void {
    if (this.#waiting.size < MAX_WAITING) this.#waiting.add(path);
  }

  /** Forgets what waits: it is still in the queue, and is found there again. */
  clear(): void {
    this.#waiting.clear();
  }

  /** Takes the limit as it is now. */
  adjust(): void {
    this.#places.resize(this.#width);
  }

  /**
   * Takes the file that is next, and a place for it, which is to be given back; null when none waits or
   * no place is free.
   * @param isDue Much may have happened to it while it waited.
   */
  next(isDue: (path: DepotPath) => boolean): DepotPath | null {
    for (const path of this.#waiting) {
      if (this.#places.isFull) return null;
      this.#waiting.delete(path);
      if (!isDue(path)) continue;
      void this.#places.acquire();
      return path;
    }
    return null;
  }

  release(): void {
    this.#places.release();
  }
}
