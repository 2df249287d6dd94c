/**
 * What the storage holds in one directory: for `LIST`, by which the shim adds evicted files to what the
 * kernel lists.
 *
 * Storage has no directories, only paths. A subdirectory is told by the first object below it, and the
 * listing goes on after its last one: a request for each subdirectory, not for each object. Directories
 * are made where they are missing, so that what was listed can be entered.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { ListedName } from "../server/shim_server.ts";
import type { Backend } from "../storage/backend.ts";
import { type DepotPath, pathProblem } from "../depot_path.ts";

/** Sorts after every name of valid UTF-8 in a directory: the last code point. */
const AFTER_ALL = "\xf4\x8f\xbf\xbf";

/** Parts a listing works on. */
export interface ListingParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  /** Where evicted files may be. */
  readonly backends: readonly Backend[];
  readonly isExcluded: (path: string) => boolean;
}

/**
 * Lists the entries of a directory ("" is the depot); a name may come twice.
 * @throws StorageError when a backend cannot be listed: part of a listing must not look whole (P3).
 */
export async function* listDirectory(
  parts: ListingParts,
  dir: string,
): AsyncGenerator<ListedName, void, void> {
  if (dir !== "" && pathProblem(dir) !== null) return;
  let made = dir === "";
  for (const backend of parts.backends) {
    for await (const entry of listOne(parts, backend, dir === "" ? "" : dir + "/")) {
      if (!made) parts.files.makeDir(dir as DepotPath);
      made = true;
      yield entry;
    }
  }
}

async function* listOne(
  { files, manifest, isExcluded }: ListingParts,
  backend: Backend,
  prefix: string,
): AsyncGenerator<ListedName, void, void> {
  const { signal } = new AbortController();
  for (let after: string | null = prefix; after !== null;) {
    const from: string = after;
    after = null;
    for await (const { path } of backend.list(prefix, signal, from)) {
      if (manifest.isTombstoned(path) || isExcluded(path)) continue;
      const name = path.slice(prefix.length).split("/", 1)[0]!;
      const isDirectory = prefix.length + name.length < path.length;
      if (isDirectory) files.makeDir((prefix + name) as DepotPath);
      yield { name, isDirectory };
      if (!isDirectory) continue;
      const next = `${prefix}${name}/${AFTER_ALL}`;
      after = next > path ? next : path; // a name that is not UTF-8 may sort after it
      break;
    }
  }
}
