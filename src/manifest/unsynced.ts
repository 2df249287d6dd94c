/**
 * Files whose bytes may be on their way to the platter: restored, or uploaded, since the filesystem was last
 * synced. After a power cut exactly these need a look (`src/cache/power_cut.ts`).
 *
 *     unsynced_0, unsynced_1   path   the version that was restored, where the record does not have it;
 *                                     else empty
 *
 * Two databases in turn, so that what comes during a sync is not taken for synced: a note is written in
 * the same transaction as the record that it is about.
 *
 * @module
 */

import type { Table } from "./group_commit.ts";
import { decodeVersion, encodeVersion, type Version } from "./schema.ts";

const NO_BYTES = new Uint8Array(0);

/** A file that may not be on the platter. */
export interface UnsyncedNote {
  readonly path: string;
  /** What was restored; null: what the record says. */
  readonly version: Pick<Version, "mtimeNs" | "digest"> | null;
}

/** See the module's description. */
export class Unsynced {
  #current: Table;
  #other: Table;
  #any = false;

  constructor(table: (name: string) => Table) {
    this.#current = table("unsynced_0");
    this.#other = table("unsynced_1");
  }

  /** Whether there are notes, as far as is known without a transaction. */
  get any(): boolean {
    return this.#any || this.#current.size() > 0 || this.#other.size() > 0;
  }

  /** @param version What was restored, where the file's record does not say that. */
  note(path: string, version: Version | null = null): void {
    this.#current.set(path, version === null ? NO_BYTES : encodeVersion(version));
    this.#any = true;
  }

  /** A sync begins: what is noted from now on is not part of it. */
  turn(): void {
    [this.#current, this.#other] = [this.#other, this.#current];
    this.#any = false;
  }

  /** The sync is done: drops what had been noted before {@link turn}. */
  forget(): void {
    this.#other.clear();
  }

  /** All committed notes; a path may come twice. */
  async *notes(): AsyncGenerator<UnsyncedNote> {
    for (const table of [this.#current, this.#other]) {
      for (let after = "";;) {
        const page = await table.after(after);
        if (page.length === 0) break;
        for (const { key, value } of page) {
          yield { path: key, version: value.length === 0 ? null : decodeVersion(value) };
        }
        after = page.at(-1)!.key;
      }
    }
  }
}
