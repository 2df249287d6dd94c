/**
 * What each directory is called by the filesystem, and where it is as far as is known: two databases of the
 * manifest, from path to identity and back.
 *
 * @module
 */

import { entriesBelow, type Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { type DepotPath, pathFromBytes, pathToBytes } from "../depot_path.ts";

/** See the module's description. */
export class DirectoryNotes {
  readonly #manifest: Manifest;
  readonly #paths: Table;
  readonly #identities: Table;

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
    this.#paths = manifest.table("directory_paths");
    this.#identities = manifest.table("directory_identities");
  }

  /** Whether nothing is known that was committed. */
  get isEmpty(): boolean {
    return this.#paths.size() === 0;
  }

  /** The identity of the directory at the path; null: not known. */
  known(dir: DepotPath): string | null {
    const known = this.#identities.get(dir);
    return known === null ? null : String.fromCharCode(...known);
  }

  /** Where the directory is, up to the renames that were taken in; null: not known. */
  pathOf(identity: string): DepotPath | null {
    const bytes = this.#paths.get(identity);
    if (bytes === null) return null;
    const path = pathFromBytes(bytes);
    // Of two that were noted for one path, only the later one is there.
    return this.known(path) === identity ? path : null;
  }

  note(path: DepotPath, identity: string): void {
    this.#identities.set(path, pathToBytes(identity));
    this.#paths.set(identity, pathToBytes(path));
  }

  move(from: DepotPath, to: DepotPath, identity: string): void {
    this.#identities.set(from, null);
    this.note(to, identity);
  }

  /** @param path Where it is known to be, if anywhere. */
  forget(path: DepotPath | null, identity: string): void {
    if (path !== null) this.#identities.set(path, null);
    this.#paths.set(identity, null);
  }

  /** The directory itself and all below that are known. */
  async below(dir: DepotPath): Promise<[DepotPath, string][]> {
    await this.#manifest.commit();
    const found: [DepotPath, string][] = [];
    const itself = this.known(dir);
    if (itself !== null) found.push([dir, itself]);
    for await (const { key, value } of entriesBelow(this.#identities, dir + "/")) {
      found.push([key as DepotPath, String.fromCharCode(...value)]);
    }
    return found;
  }
}
