/**
 * The order of eviction under `lru2`, in two databases of ours beside the contract's `evict_order`,
 * which stays what the C++ implementation expects: the last access of each clean file.
 *
 *     evict_rank   rank s u64 BE, path   empty   one entry for each clean file, see rank.ts
 *     previous     path                  u64 LE  the access before the last one; no entry: not known
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import type { Table } from "./group_commit.ts";
import { previousAfter, rankOf } from "./rank.ts";
import { CLEAN, splitTimeKey, timeKey } from "./schema.ts";
import type { FileRecord } from "./transitions.ts";

/** An entry of an order of eviction. */
export interface OrderEntry {
  readonly key: string;
  readonly path: DepotPath;
  /** What the order goes by: never after the file's last access. */
  readonly seconds: number;
}

/** Reads the key of an entry of `dirty_queue`, `evict_order` or `evict_rank`. */
export function orderEntry({ key }: { readonly key: string }): OrderEntry {
  const { seconds, path } = splitTimeKey(key);
  return { key, path: path as DepotPath, seconds };
}

const NO_BYTES = new Uint8Array(0);

/** See the module's description. */
export class EvictRanks {
  readonly #ranks: Table;
  readonly #previous: Table;

  constructor(table: (name: string) => Table) {
    this.#ranks = table("evict_rank");
    this.#previous = table("previous");
  }

  /**
   * Follows a change of a file's record.
   * @param previousAccess For a file that had no record: the access before the one that made it.
   */
  change(
    path: string,
    before: FileRecord | null,
    after: FileRecord | null,
    previousAccess: number,
  ): void {
    const wasClean = before?.row.state === CLEAN, isClean = after?.row.state === CLEAN;
    if (before !== null && after !== null && !wasClean && !isClean) return;
    const was = before === null ? 0 : this.#previousOf(path);
    let is = 0;
    if (after !== null) {
      if (before === null) is = previousAccess;
      else is = wasClean ? previousAfter(before.row.lastAccess, was, after.row.lastAccess) : was;
    }
    const oldKey = wasClean ? timeKey(rankOf(before.row.lastAccess, was), path) : null;
    const newKey = isClean ? timeKey(rankOf(after.row.lastAccess, is), path) : null;
    if (oldKey !== newKey) {
      if (oldKey !== null) this.#ranks.set(oldKey, null);
      if (newKey !== null) this.#ranks.set(newKey, NO_BYTES);
    }
    if (is !== was) this.#previous.set(path, is === 0 ? null : encodeSeconds(is));
  }

  /** Clean files after the given key ("" begins), those to evict first. */
  async after(key: string, roomBytes: number): Promise<OrderEntry[]> {
    return (await this.#ranks.after(key, roomBytes)).map(orderEntry);
  }

  /** Has what is kept of these paths at hand for {@link change}. */
  preload(paths: readonly string[]): void {
    this.#previous.preload(paths);
  }

  /** Committed entries. */
  size(): number {
    return this.#ranks.size();
  }

  /** Forgets everything; seen once it is committed. */
  clear(): void {
    this.#ranks.clear();
    this.#previous.clear();
  }

  /** Takes up a clean file of which only the last access is known. */
  add({ path, seconds }: OrderEntry): void {
    this.#ranks.set(timeKey(rankOf(seconds, 0), path), NO_BYTES);
  }

  #previousOf(path: string): number {
    const value = this.#previous.get(path);
    if (value === null) return 0;
    return Number(new DataView(value.buffer, value.byteOffset).getBigUint64(0, true));
  }
}

function encodeSeconds(seconds: number): Uint8Array {
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, BigInt(seconds), true);
  return value;
}
