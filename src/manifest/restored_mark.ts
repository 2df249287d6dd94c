/**
 * The mark of a manifest that was put back from a backup: nothing it says about a file that was changed
 * since is to be trusted. It is taken off when the whole depot has been compared with it.
 *
 *     restored   "since"   u64 s: files changed since then (ctime) are unknown to it
 *
 * @module
 */

import type { Table } from "./group_commit.ts";
import type { Manifest } from "./manifest.ts";

const TABLE = "restored", SINCE_KEY = "since";

/** See the module's description. */
export class RestoredMark {
  readonly #table: Table;
  #since: number | null;

  constructor(manifest: Manifest) {
    this.#table = manifest.table(TABLE);
    const value = this.#table.get(SINCE_KEY);
    this.#since = value === null ? null : Number(new DataView(value.buffer).getBigUint64(0, true));
  }

  /** Since when, seconds since the epoch; null: the manifest is the depot's own. */
  get sinceSeconds(): number | null {
    return this.#since;
  }

  set(sinceSeconds: number): void {
    const value = new Uint8Array(8);
    this.#since = Math.floor(sinceSeconds);
    new DataView(value.buffer).setBigUint64(0, BigInt(this.#since), true);
    this.#table.set(SINCE_KEY, value);
  }

  clear(): void {
    this.#since = null;
    this.#table.set(SINCE_KEY, null);
  }
}
