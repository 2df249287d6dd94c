/**
 * Where the content of a file that came with a renamed directory already is in storage: its upload can be
 * a copy on the server. Only a hint: the uploader reads the file as always, and copies only when its
 * digest is the one that was stored.
 *
 * @module
 */

import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { type Backend, type Content, StorageError } from "../storage/backend.ts";
import { type DepotPath, pathToBytes } from "../depot_path.ts";

/** What is stored under another name. */
export interface Stored {
  readonly path: DepotPath;
  readonly digest: string;
}

/** See the module's description. */
export class MovedFiles {
  readonly #table: Table;
  #any: boolean;

  constructor(manifest: Manifest) {
    this.#table = manifest.table("moved");
    this.#any = this.#table.size() > 0;
  }

  /** Whether there may be hints. */
  get any(): boolean {
    return this.#any;
  }

  /** Committed hints. */
  get size(): number {
    return this.#any ? this.#table.size() : 0;
  }

  note(path: DepotPath, stored: Stored): void {
    this.#table.set(path, pathToBytes(`${stored.digest}\0${stored.path}`));
    this.#any = true;
  }

  /** Where the content was stored, or null. */
  get(path: DepotPath): Stored | null {
    const value = this.#any ? this.#table.get(path) : null;
    if (value === null) return null;
    const text = String.fromCharCode(...value);
    const end = text.indexOf("\0");
    return { digest: text.slice(0, end), path: text.slice(end + 1) as DepotPath };
  }

  /**
   * Stores the content at the path by a copy on the server, where it is stored under another name.
   * @returns The copy's ETag; null where the content has to be uploaded.
   * @throws StorageError of kind transient
   */
  async copy(
    path: DepotPath,
    content: Content,
    backend: Pick<Backend, "copy" | "head">,
    signal: AbortSignal,
  ): Promise<string | null> {
    const stored = this.get(path);
    if (stored === null || stored.digest !== content.digest) return null;
    try {
      const { etag } = await backend.copy(stored.path, path, signal);
      const copy = await backend.head(path, signal);
      // What is stored with it must be the file's too; else it is uploaded.
      const same = copy.digest === content.digest && copy.size === content.size &&
        copy.mode === content.mode && copy.mtimeNs === content.mtimeNs;
      return same ? etag : null;
    } catch (error) {
      if (error instanceof StorageError && error.kind !== "transient") return null;
      throw error;
    }
  }

  forget(path: DepotPath): void {
    if (this.#any && this.#table.get(path) !== null) this.#table.set(path, null);
  }
}
