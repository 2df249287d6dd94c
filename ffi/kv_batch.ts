/**
 * Packs the operations of one transaction the way `p4kv_apply` of `shim/helper/kv.h` reads them.
 *
 * @module
 */

import type { FoundFiles } from "./found_files.ts";
import type { Bytes } from "./library.ts";

/** Room at first: most groups have a few changes, and each has a buffer of its own. */
const FIRST_BYTES = 8 * 1024;

/** Builds the packed operations that `Kv.apply` takes. */
export class KvBatch {
  #bytes: Bytes = new Uint8Array(FIRST_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;
  /** Operations in the batch. */
  count = 0;

  /** Bytes packed so far. */
  get sizeBytes(): number {
    return this.#length;
  }

  /** Adds "key = value"; the key is written as characters. */
  put(db: number, key: string, value: Uint8Array): void {
    const at = this.#head(1, db, key, value.length);
    this.#bytes.set(value, at);
  }

  /** Adds "remove key", if it is there. */
  delete(db: number, key: string): void {
    this.#head(2, db, key, 0);
  }

  /**
   * Adds rows of found files, and their entries in the queue.
   * @param files The database of rows.
   * @param keyPrefix What comes before a path in its storage key.
   * @param seconds When they were found, since the epoch.
   */
  putFound(
    files: number,
    queue: number,
    keyPrefix: string,
    seconds: number,
    found: FoundFiles,
  ): void {
    const at = this.#head(4, files, keyPrefix, 9 + found.bytes.length);
    this.#bytes[at] = queue;
    this.#view.setBigUint64(at + 1, BigInt(seconds), true);
    this.#bytes.set(found.bytes, at + 9);
    this.count += found.count - 1;
  }

  /** Adds "remove every entry of the database". */
  drop(db: number): void {
    this.#head(3, db, "", 0);
  }

  #head(op: number, db: number, key: string, valueLength: number): number {
    const need = this.#length + 8 + key.length + valueLength;
    if (need > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(need, this.#bytes.length * 2));
      larger.set(this.#bytes.subarray(0, this.#length));
      this.#bytes = larger;
      this.#view = new DataView(larger.buffer);
    }
    const at = this.#length;
    this.#bytes[at] = op;
    this.#bytes[at + 1] = db;
    this.#view.setUint16(at + 2, key.length, true);
    this.#view.setUint32(at + 4, valueLength, true);
    const bytes = this.#bytes;
    for (let i = 0; i < key.length; i++) bytes[at + 8 + i] = key.charCodeAt(i);
    this.#length = need;
    this.count++;
    return at + 8 + key.length;
  }

  /** The packed operations; valid until the next change. */
  bytes(): Bytes {
    return this.#bytes.subarray(0, this.#length);
  }
}
