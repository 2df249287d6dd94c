/**
 * Bounds what large uploads hold in memory: one budget a backend, shared by all its uploads (P5).
 *
 * @module
 */

import { SLICE_BYTES } from "./backend.ts";

/** Bytes of parts that one backend holds in memory at a time. */
export const BYTES_IN_FLIGHT = 6 * SLICE_BYTES;

/** Shares so many bytes among the uploads of a backend. */
export class PartBudget {
  readonly #bytes: number;
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(bytes = BYTES_IN_FLIGHT) {
    this.#bytes = bytes;
    this.#free = bytes;
  }

  /** Waits for room; a part larger than the whole budget goes alone. */
  async take(bytes: number): Promise<number> {
    const share = Math.min(bytes, this.#bytes);
    while (this.#free < share) await new Promise<void>((wake) => this.#waiting.push(wake));
    this.#free -= share;
    return share;
  }

  give(share: number): void {
    this.#free += share;
    for (const wake of this.#waiting.splice(0)) wake();
  }
}
