/**
 * Puts a manifest from a backup in the place of one that is lost or damaged. No daemon runs meanwhile.
 *
 * The backup is of a moment T0; since then p4d wrote, deleted and renamed, and files were evicted and
 * restored. What an old manifest says, and why nothing is lost or wrongly served (P1, P3; the tests of
 * `tests/backup/restore_manifest_test.ts` and `tests/e2e/backup_test.ts` force these):
 *
 *   1. Files written since T0 look unknown or different to the scan at the next start, and are uploaded.
 *      One that was rewritten within the same clock tick, with its size and times put back, is caught by
 *      its ctime: the manifest is marked (`restored_mark.ts`), and until that scan is through no file
 *      that was touched since T0 counts as clean, and nothing is evicted.
 *   2. The last daemon's uploads may still take effect, late, over newer ones: each file that the scan
 *      finds is noted as unsettled, and its object looked at before it is evicted.
 *   3. Files evicted since T0: their rows are dropped by the scan, their objects stand for them. Asked
 *      for before that, they are restored, and uploaded once more.
 *   4. A file that had been deleted at T0, and since was written again and evicted: its tombstone would
 *      have a living file served as absent, and its object removed. So a tombstone is kept only where
 *      the storage has no object, or one that was stored well before the deletion by the provider's
 *      clock; else it is dropped.
 *   5. Files deleted since T0 have no tombstone: should p4d ask for such a name, the old object comes
 *      back, as it does on a machine without any manifest. The report says so.
 *   6. A directory renamed since T0 is known by its file handle, and the start carries its rename out
 *      once more: copies that are there are found. But where another directory took the old name since,
 *      evicted files below it may be living ones, and would be moved away: then, and only then, the
 *      rename (one that was pending at T0 too) is forgotten, and the report names the directory.
 *   7. The trash has files that an eviction was about to let go. The old manifest does not know them, or
 *      knows other files by the same names: they are kept in `conflicts/`, and names begin anew.
 *   8. The machine was booted anew since T0: it counts as a power cut, since there may have been one. So
 *      no file from before that boot is uploaded over an object that is newer.
 *   9. A crash meanwhile: the old manifest, none, or the new one is in place. With none, everything on
 *      the disk is uploaded again.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import { type DepotPath, displayPath, pathFromBytes } from "../depot_path.ts";
import { CONFLICTS_DIR, TRASH_DIR } from "../cache/trash.ts";
import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { recount } from "../manifest/recount.ts";
import { RestoredMark } from "../manifest/restored_mark.ts";
import { CLEAN } from "../manifest/schema.ts";
import { isVersion } from "../manifest/transitions.ts";
import { type Backend, nullIfAbsent } from "../storage/backend.ts";

/** Events that were on their way when the backup was made, and clocks that differ a little, s. */
const MARGIN_SECONDS = 60;

/** A provider's clock and ours differ by less: with more, requests are refused (S3, Azure), ms. */
const CLOCK_MARGIN_MS = 15 * 60_000;

/** Objects looked at side by side. */
const AT_ONCE = 32;

/** Names told one by one. */
const MAX_NAMES = 100;

/** What the old manifest means for the depot as it is. */
export interface RestoreReport {
  /** Files on the disk that it knows as they are. */
  known: number;
  /** Files on the disk that are new or were touched since: they are uploaded again. */
  changed: number;
  /** Rows without a file: evicted or deleted since. */
  missing: number;
  /** Deletions that still hold, and those of which that cannot be told any more. */
  tombstonesKept: number;
  tombstonesDropped: number;
  /** Directories whose rename is not carried out, since another one has their name. */
  ambiguous: string[];
  /** Files in the trash, which go to the conflicts directory. */
  trash: number;
}

/** What it works on. */
export interface RestoreParts {
  readonly files: DepotFiles;
  /** The manifest from the backup, in a place of its own. */
  readonly manifest: Manifest;
  readonly primary: Backend;
  readonly isExcluded: (path: string) => boolean;
  readonly trashNames: readonly string[];
  readonly madeAtMs: number;
  readonly onProgress: (what: string) => void;
}

/** Says what the old manifest means, and makes it fit to be put in place, unless that is only tried. */
export async function prepareManifest(
  parts: RestoreParts,
  isDry: boolean,
  signal: AbortSignal,
): Promise<RestoreReport> {
  const { manifest, trashNames, madeAtMs, onProgress } = parts;
  if (manifest.needsRecount) await recount(manifest);
  const report: RestoreReport = {
    known: 0,
    changed: 0,
    missing: 0,
    tombstonesKept: 0,
    tombstonesDropped: 0,
    ambiguous: [],
    trash: trashNames.length,
  };
  const sinceSeconds = Math.floor(madeAtMs / 1000) - MARGIN_SECONDS;
  onProgress("comparing the depot");
  await compare(parts, report, sinceSeconds);
  onProgress("looking at deleted files");
  await sortTombstones(parts, report, isDry, signal);
  onProgress("looking at directories");
  await forgetAmbiguous(parts, report, isDry);
  if (isDry) return report;
  for (const id of (await manifest.trash.all()).keys()) manifest.trash.remove(Number(id));
  manifest.skipNumbers();
  new RestoredMark(manifest).set(sinceSeconds);
  // As after a crash: the last daemon may have ended in any way.
  await manifest.setRunning(true);
  return report;
}

/** Moves what is in the trash to where nobody removes it. @returns Its names there. */
export function keepTrash(
  files: DepotFiles,
  trashNames: readonly string[],
  nowMs: number,
): string[] {
  return trashNames.map((name) => {
    const kept = `trash${nowMs}-${name}`;
    files.rename(`${TRASH_DIR}/${name}`, `${CONFLICTS_DIR}/${kept}`);
    return kept;
  });
}

async function compare(
  { files, manifest, isExcluded }: RestoreParts,
  report: RestoreReport,
  sinceSeconds: number,
): Promise<void> {
  const sinceNs = BigInt(sinceSeconds) * 1_000_000_000n;
  let matched = 0;
  const walk = files.walk("" as DepotPath);
  try {
    for (let records = await walk.next(); records !== null; records = await walk.next()) {
      for (const { kind, path, size, mtimeNs, mode } of records) {
        if (kind !== "file" || isExcluded(path)) continue;
        const record = manifest.get(path);
        if (record !== null) matched++;
        const isSame = record !== null && record.row.state === CLEAN && record.version !== null &&
          isVersion(record.version, size, mtimeNs, mode);
        if (isSame && (files.stat(path)?.ctimeNs ?? sinceNs) < sinceNs) report.known++;
        else report.changed++;
      }
    }
  } finally {
    walk.close();
  }
  report.missing = manifest.counters.total - matched;
}

async function sortTombstones(
  { manifest, primary }: RestoreParts,
  report: RestoreReport,
  isDry: boolean,
  signal: AbortSignal,
): Promise<void> {
  await manifest.commit();
  for (let after = "";;) {
    const page = await manifest.tombstonesAfter(after);
    if (page.length === 0) return;
    for (let at = 0; at < page.length; at += AT_ONCE) {
      await Promise.all(
        page.slice(at, at + AT_ONCE).map(async ({ path, tombstone }) => {
          const object = await nullIfAbsent(primary.head(path, signal));
          const deletedMs = tombstone.deletedAtSeconds * 1000;
          const holds = object === null ||
            (object.storedMs !== undefined && object.storedMs < deletedMs - CLOCK_MARGIN_MS);
          if (holds) report.tombstonesKept++;
          else report.tombstonesDropped++;
          if (!holds && !isDry) manifest.setTombstone(path, null);
        }),
      );
    }
    after = page.at(-1)!.path;
  }
}

/** Forgets renames away from names that another directory has by now. */
async function forgetAmbiguous(
  { files, manifest }: RestoreParts,
  report: RestoreReport,
  isDry: boolean,
): Promise<void> {
  const tell = (dir: string) => {
    const name = displayPath(dir);
    if (report.ambiguous.length < MAX_NAMES && !report.ambiguous.includes(name)) {
      report.ambiguous.push(name);
    }
  };
  const paths = manifest.table("directory_paths");
  const identities = manifest.table("directory_identities");
  const walk = files.walkDirectories();
  try {
    for (let records = await walk.next(); records !== null; records = await walk.next()) {
      for (const { kind, path } of records) {
        const identity = kind === "directory" ? files.identity(path) : null;
        const before = identity === null ? null : paths.get(identity);
        const from = before === null ? path : pathFromBytes(before);
        if (identity === null || from === path || files.identity(from) === null) continue;
        tell(from);
        if (isDry) continue;
        paths.set(identity, null);
        identities.set(from, null);
      }
    }
  } finally {
    walk.close();
  }
  const renames = manifest.table("renames");
  const forgotten = new Set<string>();
  for await (const { key, value } of entries(renames)) {
    const number = key.slice(0, NUMBER_DIGITS);
    const from = pathFromBytes(value).split("\0")[1];
    // A rename's own row comes before the notes that belong to it.
    const dir = from?.slice(0, -1);
    if (key.length === NUMBER_DIGITS && dir !== undefined && files.stat(dir) !== null) {
      tell(dir);
      forgotten.add(number);
    }
    if (forgotten.has(number) && !isDry) renames.set(key, null);
  }
}

/** Digits before a rename's notes, see `directory_renames.ts`. */
const NUMBER_DIGITS = 16;

async function* entries(table: Table): AsyncGenerator<{ key: string; value: Uint8Array }> {
  for (let after = "";;) {
    const page = await table.after(after);
    if (page.length === 0) return;
    yield* page;
    after = page.at(-1)!.key;
  }
}
