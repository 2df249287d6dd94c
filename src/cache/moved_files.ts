/**
 * Where the content of a file that came with a renamed directory already is in storage: its upload can be
 * a copy on the server. Only a hint: the uploader reads the file as always, and copies only when its
 * digest is the one that was stored.
 *
 * @module
 */

import type { Manifest, Table } from "../manifest/manifest.ts";
import { type DepotPath, pathToBytes } from "./depot_path.ts";

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

  forget(path: DepotPath): void {
    if (this.#any && this.#table.get(path) !== null) this.#table.set(path, null);
  }
}
