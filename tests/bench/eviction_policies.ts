/**
 * Caches that differ only in what they evict, to be driven by traces. All files have the same size; as
 * in the daemon, a cache that is full is emptied to 90 %.
 *
 * @module
 */

import { previousAfter, previousOfRestored, rankOf } from "../../src/manifest/rank.ts";

/** A cache of so many files. */
export interface SimulatedCache {
  /** Takes an access; returns whether the file was there. */
  access(file: number, seconds: number): boolean;
}

export const POLICIES: Readonly<Record<string, (capacity: number) => SimulatedCache>> = {
  fifo: (capacity) => new OrderedCache(capacity, false),
  lru: (capacity) => new OrderedCache(capacity, true),
  slru: (capacity) => new SegmentedCache(capacity),
  s3fifo: (capacity) => new S3FifoCache(capacity),
  lru2: (capacity) => new RankedCache(capacity),
};

const TARGET_SHARE = 0.9;

/** FIFO, or LRU when hits move a file to the end. */
class OrderedCache implements SimulatedCache {
  readonly #files = new Set<number>();
  constructor(readonly capacity: number, readonly moves: boolean) {}

  access(file: number): boolean {
    const hit = this.#files.has(file);
    if (hit && this.moves) this.#files.delete(file);
    this.#files.add(file);
    if (this.#files.size > this.capacity) {
      let excess = this.#files.size - this.capacity * TARGET_SHARE;
      for (const oldest of this.#files) {
        if (excess-- <= 0) break;
        this.#files.delete(oldest);
      }
    }
    return hit;
  }
}

/** Segmented LRU: a second access protects; four fifths may be protected. */
class SegmentedCache implements SimulatedCache {
  readonly #probation = new Set<number>();
  readonly #protected = new Set<number>();
  constructor(readonly capacity: number) {}

  access(file: number): boolean {
    if (this.#protected.delete(file)) {
      this.#protected.add(file);
      return true;
    }
    const hit = this.#probation.delete(file);
    (hit ? this.#protected : this.#probation).add(file);
    if (this.#protected.size > this.capacity * 0.8) move(this.#protected, this.#probation);
    if (this.#probation.size + this.#protected.size > this.capacity) take(this.#probation);
    return hit;
  }
}

/** S3-FIFO (Yang et al., 2023): a small queue of new files, a main one, and a memory of evicted ones. */
class S3FifoCache implements SimulatedCache {
  readonly #small = new Set<number>();
  readonly #main = new Set<number>();
  readonly #ghost = new Set<number>();
  readonly #uses = new Map<number, number>();
  constructor(readonly capacity: number) {}

  access(file: number): boolean {
    if (this.#small.has(file) || this.#main.has(file)) {
      this.#uses.set(file, Math.min(3, (this.#uses.get(file) ?? 0) + 1));
      return true;
    }
    while (this.#small.size + this.#main.size >= this.capacity) this.#evict();
    (this.#ghost.delete(file) ? this.#main : this.#small).add(file);
    this.#uses.set(file, 0);
    return false;
  }

  #evict(): void {
    if (this.#small.size > this.capacity * 0.1 || this.#main.size === 0) {
      const file = take(this.#small);
      if (this.#uses.get(file)! > 1) {
        this.#main.add(file);
        this.#uses.set(file, 0);
        return;
      }
      this.#uses.delete(file);
      this.#ghost.add(file);
      if (this.#ghost.size > this.capacity * 0.9) take(this.#ghost);
      return;
    }
    const file = take(this.#main);
    const uses = this.#uses.get(file)!;
    if (uses > 0) {
      this.#uses.set(file, uses - 1);
      this.#main.add(file);
    } else {
      this.#uses.delete(file);
    }
  }
}

/** The daemon's own order, `rank.ts`, with an access log that remembers every file. */
class RankedCache implements SimulatedCache {
  readonly #files = new Map<number, { last: number; previous: number }>();
  readonly #log = new Map<number, number>();
  constructor(readonly capacity: number) {}

  access(file: number, seconds: number): boolean {
    const known = this.#files.get(file);
    if (known === undefined) {
      const previous = previousOfRestored(this.#log.get(file) ?? 0, seconds);
      this.#files.set(file, { last: seconds, previous });
    } else {
      known.previous = previousAfter(known.last, known.previous, seconds);
      known.last = seconds;
    }
    this.#log.set(file, seconds);
    if (this.#files.size > this.capacity) this.#evict();
    return known !== undefined;
  }

  #evict(): void {
    const order = Array.from(
      this.#files,
      ([file, { last, previous }]) => ({ file, rank: rankOf(last, previous) }),
    ).sort((a, b) => a.rank - b.rank);
    const excess = Math.ceil(this.#files.size - this.capacity * TARGET_SHARE);
    for (const { file } of order.slice(0, excess)) this.#files.delete(file);
  }
}

/** Removes and returns the oldest. */
function take(files: Set<number>): number {
  const [oldest] = files;
  files.delete(oldest!);
  return oldest!;
}

function move(from: Set<number>, to: Set<number>): void {
  to.add(take(from));
}
