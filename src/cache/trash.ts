/**
 * The trash: where files are between an eviction's lease and its end, and how a start after a crash
 * empties it (P1).
 *
 * A file with an entry in the manifest was not let go yet: it goes back to its path, over nothing.
 * A file without an entry was let go by a durable commit: it is unlinked. When the path was taken by a
 * newer file, the content is kept in the conflicts directory and reported.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import type { TrashEntry } from "../manifest/trash_entries.ts";
import type { DirectoryIdentities } from "./directory_identities.ts";
import { type DepotPath, directoryOf, displayPath, STATE_DIR } from "../depot_path.ts";

/** Depot-relative directories. */
export const TRASH_DIR = `${STATE_DIR}/trash`, CONFLICTS_DIR = `${STATE_DIR}/conflicts`;

/** Longest part of a file's own name that a conflict's name repeats, bytes. */
const CONFLICT_NAME_BYTES = 200;

/** Name of a kept file in the conflicts directory: unique by the trash id, readable by the rest. */
export function conflictName(trashId: number | string, path: string): string {
  return `${trashId}-${lastName(path).slice(0, CONFLICT_NAME_BYTES)}`;
}

function lastName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * Empties the trash before anything else touches the depot.
 * @param findsRenames Files whose directory is not where it was wait for {@link putBackMoved}.
 * @returns Names and entries of those.
 */
export async function emptyTrash(
  files: DepotFiles,
  manifest: Manifest,
  trashNames: readonly string[],
  log: Logger,
  findsRenames = false,
): Promise<Map<string, TrashEntry>> {
  const entries = await manifest.trash.all();
  const left = new Map<string, TrashEntry>();
  for (const name of trashNames) {
    const entry = entries.get(name);
    if (entry === undefined) files.unlink(`${TRASH_DIR}/${name}`);
    else if (findsRenames && !isAtHome(files, entry)) left.set(name, entry);
    else putBack(files, name, entry.path, log);
  }
  for (const name of entries.keys()) if (!left.has(name)) manifest.trash.remove(Number(name));
  await manifest.commit();
  return left;
}

/**
 * Puts back what {@link emptyTrash} left, now that it is known which directories were renamed.
 *
 * A directory that is nowhere was removed while nobody watched, or the depot is a copy, where the
 * filesystem calls everything otherwise. Its file goes back to its path when a directory is there of which
 * nothing is known; else that may be another one's path by now, and the file is kept aside.
 * @param onBack Called for each file that is back at its path.
 */
export async function putBackMoved(
  files: DepotFiles,
  manifest: Manifest,
  identities: Pick<DirectoryIdentities, "pathOf">,
  left: ReadonlyMap<string, TrashEntry>,
  log: Logger,
  onBack: (path: DepotPath, size: number) => void,
): Promise<void> {
  for (const [name, entry] of left) {
    const now = homeOf(files, entry, identities);
    if (now === null) {
      const why = "its directory was removed while it was evicted";
      keepAside(files, name, entry.path, log, why);
    } else {
      putBack(files, name, now, log);
      const stat = files.stat(now);
      if (stat !== null) onBack(now, stat.size);
    }
    manifest.trash.remove(Number(name));
  }
  await manifest.commit();
}

/** Whether its directory is there, and no other one that took the name while nobody watched. */
function isAtHome(files: DepotFiles, { path, directory }: TrashEntry): boolean {
  const dir = directoryOf(path);
  if (dir === "") return true;
  return directory === null ? files.stat(dir) !== null : files.identity(dir) === directory;
}

/** Where the file goes back to, see {@link putBackMoved}; null when it may not go anywhere. */
function homeOf(
  files: DepotFiles,
  { path, directory }: TrashEntry,
  identities: Pick<DirectoryIdentities, "pathOf">,
): DepotPath | null {
  if (directory === null) return path;
  const dir = identities.pathOf(directory);
  const isThere = dir !== null && files.identity(dir) === directory;
  if (isThere) return `${dir}/${lastName(path)}` as DepotPath;
  const other = files.identity(directoryOf(path));
  return other !== null && identities.pathOf(other) === null ? path : null;
}

function putBack(files: DepotFiles, name: string, path: DepotPath, log: Logger): void {
  if (files.rename(`${TRASH_DIR}/${name}`, path)) return;
  keepAside(files, name, path, log, "it was written anew while its eviction was interrupted");
}

function keepAside(
  files: DepotFiles,
  name: string,
  path: DepotPath,
  log: Logger,
  why: string,
): void {
  const kept = conflictName(name, path);
  files.rename(`${TRASH_DIR}/${name}`, `${CONFLICTS_DIR}/${kept}`);
  log.warning(
    `The earlier content of ${displayPath(path)} is kept as ${CONFLICTS_DIR}/${
      displayPath(kept)
    }: ${why}`,
  );
}
