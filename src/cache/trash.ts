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
import { IDENTITIES } from "./directory_identities.ts";
import { type DepotPath, displayPath, pathFromBytes, STATE_DIR } from "../depot_path.ts";

/** Depot-relative directories. */
export const TRASH_DIR = `${STATE_DIR}/trash`, CONFLICTS_DIR = `${STATE_DIR}/conflicts`;

/** Longest part of a file's own name that a conflict's name repeats, bytes. */
const CONFLICT_NAME_BYTES = 200;

/** Name of a kept file in the conflicts directory: unique by the trash id, readable by the rest. */
export function conflictName(trashId: number | string, path: string): string {
  return `${trashId}-${path.slice(path.lastIndexOf("/") + 1).slice(0, CONFLICT_NAME_BYTES)}`;
}

/**
 * Empties the trash before anything else touches the depot.
 * @param findsRenames Files whose directory is not there, or is another one, wait for {@link putBackMoved}: it may have been
 *   renamed since the crash.
 * @returns Name and path of those.
 */
export async function emptyTrash(
  files: DepotFiles,
  manifest: Manifest,
  trashNames: readonly string[],
  log: Logger,
  findsRenames = false,
): Promise<Map<string, DepotPath>> {
  const entries = await manifest.trash.all();
  const left = new Map<string, DepotPath>();
  for (const name of trashNames) {
    const path = entries.get(name);
    if (path === undefined) files.unlink(`${TRASH_DIR}/${name}`);
    else if (findsRenames && !isAtHome(files, manifest, path)) left.set(name, path);
    else putBack(files, name, path, log);
  }
  for (const name of entries.keys()) if (!left.has(name)) manifest.trash.remove(Number(name));
  await manifest.commit();
  return left;
}

/**
 * Puts back what {@link emptyTrash} left, now that it is known which directories were renamed.
 * @param nowAt Where a path is since.
 * @param onBack Called for each file that is back at its path.
 */
export async function putBackMoved(
  files: DepotFiles,
  manifest: Manifest,
  left: ReadonlyMap<string, DepotPath>,
  log: Logger,
  nowAt: (path: DepotPath) => DepotPath,
  onBack: (path: DepotPath, size: number) => void,
): Promise<void> {
  for (const [name, path] of left) {
    const to = nowAt(path);
    putBack(files, name, to, log);
    manifest.trash.remove(Number(name));
    const there = files.stat(to);
    if (there !== null) onBack(to, there.size);
  }
  await manifest.commit();
}

/** Whether its directory is there, and no other one that took the name while nobody watched. */
function isAtHome(files: DepotFiles, manifest: Manifest, path: DepotPath): boolean {
  const dir = path.slice(0, Math.max(0, path.lastIndexOf("/"))) as DepotPath;
  if (dir === "") return true;
  if (files.stat(dir) === null) return false;
  const known = manifest.table(IDENTITIES).get(dir);
  return known === null || pathFromBytes(known) === files.identity(dir);
}

function putBack(files: DepotFiles, name: string, path: DepotPath, log: Logger): void {
  if (files.rename(`${TRASH_DIR}/${name}`, path)) return;
  const kept = conflictName(name, path);
  files.rename(`${TRASH_DIR}/${name}`, `${CONFLICTS_DIR}/${kept}`);
  log.warning(
    `${displayPath(path)} was written anew while an eviction was interrupted; ` +
      `its earlier content is kept as ${CONFLICTS_DIR}/${displayPath(kept)}`,
  );
}
