/**
 * Which files evictions have taken and not ended with: what the start after a crash goes by
 * (`src/cache/trash.ts`).
 *
 *     trash   name in the trash, decimal   path
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import { bytesOf, type Table, text } from "./group_commit.ts";

/** See the module's description. */
export class TrashEntries {
  readonly #table: Table;
  readonly #nextNumber: () => number;

  /** @param nextNumber A number above all that were given before, also by earlier daemons. */
  constructor(table: Table, nextNumber: () => number) {
    this.#table = table;
    this.#nextNumber = nextNumber;
  }

  /** Records that an eviction is about to take the file; returns its name in the trash. */
  add(path: DepotPath): number {
    const id = this.#nextNumber();
    this.move(id, path);
    return id;
  }

  /** The directory of a file in the trash was renamed: it goes back to another path. */
  move(id: number, path: DepotPath): void {
    this.#table.set(String(id), bytesOf(path));
  }

  /** Ends what {@link add} began. */
  remove(id: number): void {
    this.#table.set(String(id), null);
  }

  /** What is committed: name in the trash to path. */
  async all(): Promise<Map<string, DepotPath>> {
    const found = new Map<string, DepotPath>();
    for (let after = "";;) {
      const page = await this.#table.after(after);
      if (page.length === 0) return found;
      for (const { key, value } of page) found.set(key, text(value) as DepotPath);
      after = page.at(-1)!.key;
    }
  }
}
