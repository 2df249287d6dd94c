/**
 * Which clean files go first, by the configured policy. `lru` goes by the contract's `evict_order`, which
 * every change of a record keeps up; `lru2` by ranks of our own beside it (`evict_ranks.ts`).
 *
 * @module
 */

import { EvictRanks, type OrderEntry, orderEntry } from "./evict_ranks.ts";
import type { Table } from "./group_commit.ts";
import type { EvictPolicy } from "./rank.ts";
import type { FileRecord } from "./transitions.ts";

/** A page of the order, bytes: about what is evicted together. */
const PAGE_BYTES = 48 * 1024;

/** See the module's description. */
export class EvictOrder {
  readonly #byRank: boolean;
  readonly #ranks: EvictRanks;
  readonly #byAccess: Table;

  /** @param table Opens a database of the manifest. */
  constructor(policy: EvictPolicy, table: (name: string) => Table) {
    this.#byRank = policy === "lru2";
    this.#ranks = new EvictRanks(table);
    this.#byAccess = table("evict_order");
  }

  /** Follows a change of a file's record, beside what is written to `evict_order`; see {@link EvictRanks.change}. */
  change(
    path: string,
    before: FileRecord | null,
    after: FileRecord | null,
    previousAccess: number,
  ): void {
    if (this.#byRank) this.#ranks.change(path, before, after, previousAccess);
  }

  /** Has what is kept of these paths at hand for {@link change}. */
  preload(paths: readonly string[]): void {
    if (this.#byRank) this.#ranks.preload(paths);
  }

  /** Clean files after the given key ("" begins), those to evict first. */
  after(key: string): Promise<OrderEntry[]> {
    return this.#byRank ? this.#ranks.after(key, PAGE_BYTES) : this.#accessed(key, PAGE_BYTES);
  }

  async #accessed(key: string, roomBytes?: number): Promise<OrderEntry[]> {
    return (await this.#byAccess.after(key, roomBytes)).map(orderEntry);
  }

  /**
   * Makes the ranks whole where they are not: after another policy, or another program's writes.
   * @param isForeign Whether another program wrote since our last commit.
   * @param commit Resolves when what was staged is durable.
   */
  async settle(isForeign: boolean, commit: () => Promise<void>): Promise<void> {
    const files = this.#byRank ? this.#byAccess.size() : 0;
    if (!isForeign && this.#ranks.size() === files) return;
    this.#ranks.clear();
    for (let after = ""; this.#byRank;) {
      const page = await this.#accessed(after);
      for (const entry of page) this.#ranks.add(entry);
      await commit();
      if (page.length === 0) return;
      after = page.at(-1)!.key;
    }
    await commit();
  }
}
