/**
 * What happens while it is searched which directories were renamed unseen, as far as the renames that are
 * found must know it: durable until the search is through, however many starts that takes.
 *
 * Such a rename is found after it happened. By then another directory may have its old name, with files
 * that came and went there since. Meanwhile nothing is uploaded, so no object below the old name is one of
 * those. Two things would hide that:
 *   - a file that is deleted now leaves a tombstone, from before the rename as it seems: it is noted that
 *     the deletion is a later one;
 *   - a file that comes now takes the tombstone of a deleted one back, whose object the rename would take
 *     for one that it has to move: what the tombstone said is kept.
 *
 *     rename_search   path         number of the tombstone that was taken back
 *                     NUL, path    number of a deletion since the search began
 *
 * @module
 */

import { entriesBelow, type Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { pathToBytes } from "../depot_path.ts";

/** Before a path: no path has it. */
const DELETED = "\0";

/** See the module's description. */
export class RenameSearch {
  readonly #manifest: Manifest;
  readonly #table: Table;

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
    this.#table = manifest.table("rename_search");
  }

  /** The search is through. */
  end(): void {
    this.#table.clear();
  }

  /** A file was deleted, and has its tombstone. */
  deleted(path: string): void {
    const tombstone = this.#manifest.tombstone(path);
    if (tombstone !== null) this.#note(DELETED + path, tombstone.order);
  }

  /** Whether the path's tombstone of that number is of a deletion since the search began. */
  isDeletedSince(path: string, order: number): boolean {
    const value = this.#table.get(DELETED + path);
    return value !== null && numberIn(value) === order;
  }

  /** A file is about to be recorded at the path. */
  takesBack(path: string): void {
    const tombstone = this.#manifest.tombstone(path);
    if (tombstone === null || this.isDeletedSince(path, tombstone.order)) return;
    if (this.#table.get(path) === null) this.#note(path, tombstone.order);
  }

  /** Tombstones from before the search that were taken back below the directory, which ends with "/". */
  async *takenBackBelow(dir: string): AsyncGenerator<{ path: string; order: number }> {
    for await (const { key, value } of entriesBelow(this.#table, dir)) {
      yield { path: key, order: numberIn(value) };
    }
  }

  #note(key: string, order: number): void {
    this.#table.set(key, pathToBytes(String(order)));
  }
}

function numberIn(value: Uint8Array): number {
  return Number(String.fromCharCode(...value));
}
