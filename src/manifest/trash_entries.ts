/**
 * Which files evictions have taken and not ended with: what the start after a crash goes by
 * (`src/cache/trash.ts`).
 *
 *     trash   name in the trash, decimal   path, NUL, identity of its directory (directory_identities.ts)
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import { bytesOf, type Table, text } from "./group_commit.ts";

/** A file in the trash. */
export interface TrashEntry {
  /** Where it goes back to, as far as renames were taken in. */
  readonly path: DepotPath;
  /** What the filesystem calls its directory; null: not known. */
  readonly directory: string | null;
}

/** See the module's description. */
export class TrashEntries {
  readonly #table: Table;
  readonly #nextNumber: () => number;

  /** @param nextNumber A number above all that were given before, also by earlier daemons. */
  constructor(table: Table, nextNumber: () => number) {
    this.#table = table;
    this.#nextNumber = nextNumber;
  }

  /**
   * Records that an eviction is about to take the file; returns its name in the trash.
   * @param directory What the filesystem calls its directory; null: not known.
   */
  add(path: DepotPath, directory: string | null = null): number {
    const id = this.#nextNumber();
    this.move(id, path, directory);
    return id;
  }

  /** The directory of a file in the trash was renamed: it goes back to another path. */
  move(id: number, path: DepotPath, directory: string | null): void {
    const value = directory === null ? path : `${path}\0${directory}`;
    this.#table.set(String(id), bytesOf(value));
  }

  /** Ends what {@link add} began. */
  remove(id: number): void {
    this.#table.set(String(id), null);
  }

  /** What is committed, by the names in the trash. */
  async all(): Promise<Map<string, TrashEntry>> {
    const found = new Map<string, TrashEntry>();
    for (let after = "";;) {
      const page = await this.#table.after(after);
      if (page.length === 0) return found;
      for (const { key, value } of page) found.set(key, decode(text(value)));
      after = page.at(-1)!.key;
    }
  }
}

function decode(value: string): TrashEntry {
  const end = value.indexOf("\0");
  return end < 0
    ? { path: value as DepotPath, directory: null }
    : { path: value.slice(0, end) as DepotPath, directory: value.slice(end + 1) };
}
