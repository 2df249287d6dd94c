/**
 * `shim/helper/evict.c` over the simulated disk, one system call at a time. The steps, and their order,
 * are those of the C file; change both together.
 *
 * @module
 */

import type { EvictionBatch, EvictionCandidate, EvictionOutcome } from "../../../ffi/evict.ts";
import { type DepotPath, directoryOf } from "../../../src/depot_path.ts";
import { type Directory, type Disk, Errno, type OpenFile, statOf } from "./disk.ts";
import type { ProcessLife } from "./process.ts";
import type { Steps } from "./scheduler.ts";
import { renameOver } from "./sim_files.ts";

interface Taken {
  readonly candidate: EvictionCandidate;
  readonly trashPath: string;
  readonly open: OpenFile;
  readonly parent: Directory;
}

interface Batch {
  readonly disk: Disk;
  readonly life: ProcessLife;
  readonly files: (Taken | null)[];
  readonly outcomes: EvictionOutcome[];
}

/** p4evict_begin. */
export function* beginEviction(
  life: ProcessLife,
  disk: Disk,
  trashDir: string,
  candidates: readonly EvictionCandidate[],
): Steps<Pick<EvictionBatch, "check" | "finish">> {
  const batch: Batch = { disk, life, files: [], outcomes: [] };
  let parent: Directory | null = null;
  for (const [i, candidate] of candidates.entries()) {
    const open: OpenFile[] = [];
    // Files in a row are taken through one descriptor of their directory.
    if (i === 0 || !isSameDirectory(candidate, candidates[i - 1]!)) {
      const there = disk.directoryOf(candidate.path);
      const { directory } = candidate;
      parent = directory === null || there?.ino.toString() === directory ? there : null;
    }
    const outcome = parent === null
      ? "gone"
      : yield* take(batch, trashDir, candidate, parent, open);
    const [file] = open;
    batch.outcomes.push(outcome);
    if (outcome !== "taken" && file !== undefined) disk.close(file);
    batch.files.push(
      outcome === "taken"
        ? { candidate, trashPath: `${trashDir}/${candidate.trashId}`, open: file!, parent: parent! }
        : null,
    );
    life.scheduler.note(`daemon: evict ${candidate.path} #${candidate.trashId}: ${outcome}`);
  }
  return {
    check: () => life.thread("evict check", checkSteps(batch)),
    finish: (letGo) => life.thread("evict finish", finishSteps(batch, letGo)),
  };
}

function* take(
  { disk }: Batch,
  trashDir: string,
  { path, trashId, doubtedFromNs, directory: _, ...uploaded }: EvictionCandidate,
  parent: Directory,
  open: OpenFile[],
): Steps<EvictionOutcome> {
  yield null;
  const now = () => disk.pathIn(parent, path) ?? path;
  const entry = disk.find(now());
  const inode = disk.file(now());
  if (entry === null || inode === null) return "gone";
  if (disk.breakLease(inode)) return "failed";
  const file = disk.open(entry, false, true);
  open.push(file);
  if (inode.nlink !== 1) return "linked";
  yield null;
  if (!disk.lease(file)) return "in_use";
  yield null;
  if (!isSameVersion(statOf(inode), uploaded)) return "changed";
  if (doubtedFromNs !== null && inode.ctimeNs >= doubtedFromNs) return "doubtful";
  yield null;
  const trashPath = `${trashDir}/${trashId}`;
  try {
    if (!renameOver(disk, now(), trashPath)) return "failed";
  } catch {
    return "gone";
  }
  yield null;
  if (disk.file(trashPath) !== inode) {
    return putBack(disk, trashPath, parent, path) === "conflict" ? "conflict" : "changed";
  }
  return "taken";
}

function isSameDirectory(a: EvictionCandidate, b: EvictionCandidate): boolean {
  return directoryOf(a.path as DepotPath) === directoryOf(b.path as DepotPath) &&
    a.directory === b.directory;
}

type VersionFields = Pick<EvictionCandidate, "size" | "mtimeNs" | "mode">;

function isSameVersion(a: VersionFields, b: VersionFields): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && (a.mode & 0o7777) === (b.mode & 0o7777);
}

function putBack(
  disk: Disk,
  trashPath: string,
  parent: Directory,
  path: string,
): "back" | "conflict" {
  try {
    const to = disk.pathIn(parent, path);
    return to !== null && renameOver(disk, trashPath, to) ? "back" : "conflict";
  } catch {
    return "conflict";
  }
}

/** p4evict_check. */
function* checkSteps({ files, outcomes }: Batch): Steps<EvictionOutcome[]> {
  for (const [i, file] of files.entries()) {
    if (file === null) continue;
    yield null;
    const { inode } = file.open;
    const now = statOf(inode);
    yield null;
    if (inode.lease === null || inode.lease.breaking) outcomes[i] = "in_use";
    else if (!isSameVersion(now, file.candidate)) outcomes[i] = "changed";
    else if (now.nlink !== 1) outcomes[i] = "linked";
  }
  return [...outcomes];
}

/** p4evict_finish. */
function* finishSteps(
  { disk, life, files, outcomes }: Batch,
  letGo: readonly boolean[],
): Steps<EvictionOutcome[]> {
  for (const [i, file] of files.entries()) {
    if (file === null) continue;
    yield null;
    const { lease } = file.open.inode;
    if (letGo[i] && lease !== null && !lease.breaking) {
      yield null;
      try {
        disk.unlink(file.trashPath, true);
        outcomes[i] = "taken";
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
        outcomes[i] = "failed";
      }
      life.counts.evicted++;
      life.scheduler.note(`daemon: let go ${file.candidate.path}`);
    } else {
      yield null;
      if (putBack(disk, file.trashPath, file.parent, file.candidate.path) === "conflict") {
        outcomes[i] = "conflict";
      } else if (outcomes[i] === "taken") outcomes[i] = "in_use";
      life.scheduler.note(`daemon: put back ${file.candidate.path}: ${outcomes[i]}`);
    }
    yield null;
    disk.close(file.open);
  }
  return [...outcomes];
}
