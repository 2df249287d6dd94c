/**
 * Records of the files that moved with a renamed directory: those on disk, which the manifest has under
 * their old paths. The objects of evicted ones are moved in `directory_renames.ts`.
 *
 * That a rename's records have not all moved is durable with it: after a crash the next start goes on,
 * before anything else. A record that stayed would be dropped by the scan, as a file that is not there, and
 * the object under its old name would be left over: another directory of that name would have it (P2).
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { seen } from "../manifest/transitions.ts";
import type { Activity } from "./activity.ts";
import { type DepotPath, pathProblem } from "../depot_path.ts";
import type { MovedFiles } from "./moved_files.ts";
import { leftBy, newPath, type Rename, type RenameLog } from "./rename_log.ts";

/** Staged changes above which the manifest is waited for (P5). */
const MAX_PENDING = 20_000;

/** Parts it works on. */
export interface MoveRecordsParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly moved: MovedFiles;
  readonly isExcluded: (path: string) => boolean;
  readonly nowSeconds: () => number;
  /** A file is dirty, or its upload may have waited for us. */
  readonly onDirty: (path: DepotPath) => void;
}

/** Tracks the files that moved with the directory under their new paths, unless that was done. */
export async function moveRecords(
  parts: MoveRecordsParts,
  log: RenameLog,
  rename: Rename,
): Promise<void> {
  if (log.isMoved(rename)) return;
  const { manifest } = parts;
  await manifest.commit();
  for (let after = rename.from;;) {
    const page = await manifest.pathsAfter(after);
    const below = page.filter((path) => path.startsWith(rename.from));
    for (const path of below) moveRecord(parts, log, rename, path);
    if (below.length === 0 || below.length < page.length) break;
    after = below.at(-1)!;
    if (manifest.pending > MAX_PENDING) await manifest.commit();
  }
  log.noteMoved(rename);
}

/** A tracked file is now at its new path: dirty there, with a hint where its content is stored. */
function moveRecord(
  { files, manifest, activity, moved, isExcluded, nowSeconds, onDirty }: MoveRecordsParts,
  log: RenameLog,
  rename: Rename,
  from: DepotPath,
): void {
  const record = manifest.get(from);
  if (record === null) return;
  activity.touch(from);
  const to = newPath(rename, from);
  // One in the trash goes back to the new path.
  const hasMoved = files.stat(to) !== null || activity.evictions.has(to);
  const there = hasMoved ? null : files.stat(from);
  if (there !== null) {
    // It came to the old name since. What is stored under that name is the rename's, so that the file is
    // to be stored anew. Of a stored file that moved on disk it is no only copy: under the new name it
    // would be left over, where the directory came back unseen.
    if (record.version !== null) log.note(rename, from, rename.order);
    manifest.set(from, seen(record, there.size, nowSeconds()));
    return;
  }
  const digest = record.version?.digest ?? "";
  const stored = digest === "" ? moved.get(from) : { path: from, digest };
  moved.forget(from);
  manifest.set(from, null);
  manifest.setTombstone(from, leftBy(rename));
  log.note(rename, from, rename.order);
  // It is elsewhere by now, as another event is about to tell.
  if (!hasMoved || pathProblem(to) !== null || isExcluded(to)) return;
  activity.touch(to);
  const known = manifest.get(to);
  manifest.set(to, seen(known, record.row.size, nowSeconds()));
  // With a record there already an event of the new path came first: its content may be newer.
  if (known === null && stored !== null) moved.note(to, stored);
  onDirty(to);
}
