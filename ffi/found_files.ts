/**
 * New files that one step of a walk found, as `shim/helper/compare.h` packs them: in the order of their
 * paths, without an object for each. They are recorded as they are (`found.h`), and looked up here until
 * that is committed.
 *
 * @module
 */

import type { Bytes } from "./library.ts";
import { RECORD_HEAD_BYTES, type WalkRecord, walkRecords } from "./walk.ts";

/** See the module's description. */
export class FoundFiles {
  readonly bytes: Bytes;
  /** Where each record begins. */
  readonly #starts: Uint32Array;
  readonly #view: DataView;
  readonly count: number;
  readonly totalBytes: number;

  /** @param bytes Packed records of files (walk.h), sorted by path. */
  constructor(bytes: Bytes) {
    this.bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#starts = new Uint32Array(Math.floor(bytes.length / RECORD_HEAD_BYTES));
    let count = 0, total = 0;
    for (let at = 0; at < bytes.length; at += this.#view.getUint32(at, true)) {
      this.#starts[count++] = at;
      total += this.#sizeAt(at);
    }
    this.count = count;
    this.totalBytes = total;
  }

  #sizeAt(start: number): number {
    return Number(this.#view.getBigInt64(start + 16, true));
  }

  /** The file's size, or null when it is not among them. */
  sizeOf(path: string): number | null {
    const last = this.count - 1;
    if (last < 0 || this.#compareText(0, path) > 0 || this.#compareText(last, path) < 0) {
      return null;
    }
    const i = this.#lowerBound(0, (k) => this.#compareText(k, path));
    return i < this.count && this.#compareText(i, path) === 0
      ? this.#sizeAt(this.#starts[i]!)
      : null;
  }

  /** Whether one path is among both. */
  sharesPath(other: FoundFiles): boolean {
    // From one to the next that is not before the other's, by turns: steps of a walk are far apart mostly.
    for (let i = 0, k = 0; i < this.count && k < other.count;) {
      i = this.#lowerBound(i, (n) => this.#compareFile(n, other, k));
      if (i === this.count) return false;
      if (this.#compareFile(i, other, k) === 0) return true;
      k = other.#lowerBound(k, (n) => other.#compareFile(n, this, i));
    }
    return false;
  }

  /** The same as objects. */
  records(): WalkRecord[] {
    return walkRecords(this.bytes, this.bytes.length);
  }

  /** The first from `low` on that does not compare as before what is looked for. */
  #lowerBound(low: number, compare: (i: number) => number): number {
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (compare(middle) < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  #compareText(i: number, path: string): number {
    const start = this.#starts[i]! + RECORD_HEAD_BYTES, length = this.#pathLength(i);
    const common = Math.min(length, path.length);
    for (let n = 0; n < common; n++) {
      const order = this.bytes[start + n]! - path.charCodeAt(n);
      if (order !== 0) return order;
    }
    return length - path.length;
  }

  #compareFile(i: number, other: FoundFiles, k: number): number {
    const start = this.#starts[i]! + RECORD_HEAD_BYTES, length = this.#pathLength(i);
    const otherStart = other.#starts[k]! + RECORD_HEAD_BYTES, otherLength = other.#pathLength(k);
    const common = Math.min(length, otherLength);
    for (let n = 0; n < common; n++) {
      const order = this.bytes[start + n]! - other.bytes[otherStart + n]!;
      if (order !== 0) return order;
    }
    return length - otherLength;
  }

  #pathLength(i: number): number {
    return this.#view.getUint16(this.#starts[i]! + 6, true);
  }
}

/** Packs files as `shim/helper/walk.h` does: for worlds without it. They are sorted by path. */
export function packFound(files: readonly WalkRecord[]): FoundFiles {
  const sizes = files.map(({ path }) => (RECORD_HEAD_BYTES + path.length + 7) & ~7);
  const bytes = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const [i, file] of files.entries()) {
    view.setUint32(at, sizes[i]!, true);
    bytes[at + 4] = 1;
    view.setUint16(at + 6, file.path.length, true);
    view.setUint32(at + 8, file.mode, true);
    view.setUint32(at + 12, file.nlink, true);
    view.setBigInt64(at + 16, BigInt(file.size), true);
    view.setBigInt64(at + 24, file.mtimeNs, true);
    view.setBigInt64(at + 32, file.ctimeNs, true);
    for (let n = 0; n < file.path.length; n++) {
      bytes[at + RECORD_HEAD_BYTES + n] = file.path.charCodeAt(n);
    }
    at += sizes[i]!;
  }
  return new FoundFiles(bytes);
}
