/**
 * Bounds what parts of files hold in memory: one budget a backend, shared by all its uploads (P5), and
 * one each for small files and for restores.
 *
 * @module
 */

import { SLICE_BYTES } from "./backend.ts";

/** Bytes of parts that one backend holds in memory at a time. */
const BYTES_IN_FLIGHT = 6 * SLICE_BYTES;

interface Waiter {
  readonly bytes: number;
  readonly go: (share: number) => void;
}

/** Shares so many bytes among those who hold parts of files; first come, first served. */
export class PartBudget {
  /** Without a limit from outside. */
  readonly fullBytes: number;
  #bytes: number;
  /** Below 0 while more is held than a limit that was lowered allows. */
  #free: number;
  readonly #waiting: Waiter[] = [];

  constructor(bytes = BYTES_IN_FLIGHT) {
    this.fullBytes = bytes;
    this.#bytes = bytes;
    this.#free = bytes;
  }

  get usedBytes(): number {
    return this.#bytes - this.#free;
  }

  /** Whether somebody waits for room. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Allows another number of bytes from now on, at least 1; what is held stays held. */
  resize(bytes: number): void {
    this.#free += bytes - this.#bytes;
    this.#bytes = bytes;
    this.#admit();
  }

  /** Waits for room; a part larger than the whole budget goes alone. Gives what is to be given back. */
  take(bytes: number): Promise<number> {
    return new Promise((go) => {
      this.#waiting.push({ bytes, go });
      this.#admit();
    });
  }

  give(share: number): void {
    this.#free += share;
    this.#admit();
  }

  #admit(): void {
    for (let next; (next = this.#waiting[0]) !== undefined;) {
      const share = Math.min(next.bytes, this.#bytes);
      if (this.#free < share) return;
      this.#waiting.shift();
      this.#free -= share;
      next.go(share);
    }
  }
}
