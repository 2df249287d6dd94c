/**
 * `p4-cache reupload`: after the storage lost objects, whatever of them is on the disk is uploaded again.
 *
 * The manifest says "clean" of files whose objects are gone: they could be evicted, and would be lost.
 * So eviction is held, past a restart of the daemon, until every file was compared; what the storage
 * lacks is dirty from then on, durably, and is uploaded like any other file. A run that was cut off is
 * made again from the start: files that are dirty or uploaded by now cost it nothing.
 *
 * While it runs a file may be written, evicted (by an operator) or deleted: it is looked at anew, in one
 * turn with the change of its record, and left alone when it is not the version that was compared.
 *
 * @module
 */

import type { Activity } from "../cache/activity.ts";
import type { DepotPath } from "../depot_path.ts";
import type { Evictor } from "../cache/evictor.ts";
import type { Intake } from "../cache/intake.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN } from "../manifest/schema.ts";
import { type Backend, type ListedObject, nullIfAbsent } from "../storage/backend.ts";
import { localFiles } from "./listing.ts";
import type { Maintenance } from "./maintenance.ts";

/** Why nothing is evicted meanwhile, and still not after a run that was cut off. */
const HOLD = "files that the storage lost are being found; 'p4-cache reupload' ends that";

/** Files after which progress is told. */
const TICK = 500;

/** What it works on. */
export interface ReuploadParts {
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  readonly evictor: Evictor;
  readonly maintenance: Maintenance;
  readonly primary: Backend;
}

/** How far it is. */
export interface ReuploadState {
  readonly dryRun: boolean;
  /** Files on the disk that were compared. */
  files: number;
  /** Of those, what the storage lacks or has in another version: dirty now, unless that is only tried. */
  lacking: number;
  lackingBytes: number;
}

/** Compares, and tells how far it is. @throws StorageError when the storage cannot be asked */
export async function* reupload(
  parts: ReuploadParts,
  dryRun: boolean,
  signal: AbortSignal,
): AsyncGenerator<ReuploadState, ReuploadState, void> {
  const { manifest, activity, evictor, maintenance, primary } = parts;
  const state: ReuploadState = { dryRun, files: 0, lacking: 0, lackingBytes: 0 };
  if (!dryRun) {
    if (evictor.heldBecause === null) maintenance.hold(HOLD);
    // Those under way were begun without a look.
    await Promise.all(Array.from(activity.evictions.values(), ({ done }) => done));
  }
  const objects = primary.list("", signal)[Symbol.asyncIterator]();
  try {
    let there = await objects.next();
    for await (const path of localFiles(manifest, "")) {
      if (signal.aborted) return state;
      while (!there.done && there.value.path < path) there = await objects.next();
      const listed = !there.done && there.value.path === path ? there.value : null;
      state.files++;
      await compare(parts, path, listed, state, signal);
      if (state.files % TICK === 0) {
        await manifest.commit();
        yield state;
      }
    }
  } finally {
    await objects.return?.();
  }
  // A file that is dirty stays: only then may others go.
  await manifest.commit();
  if (evictor.heldBecause === HOLD) maintenance.hold(null);
  return state;
}

async function compare(
  { manifest, activity, intake, primary }: ReuploadParts,
  path: DepotPath,
  listed: ListedObject | null,
  state: ReuploadState,
  signal: AbortSignal,
): Promise<void> {
  const before = manifest.get(path);
  if (before === null || before.row.state !== CLEAN || activity.uploads.has(path)) return;
  const { row, version } = before;
  const isIt = (object: Pick<ListedObject, "size" | "etag">) =>
    object.size === row.size &&
    (version === null || version.etag === "" || version.etag === object.etag);
  if (listed !== null && isIt(listed)) return;
  // A listing is older than this moment, and may write its tags in another way.
  const object = await nullIfAbsent(primary.head(path, signal));
  const now = manifest.get(path);
  const isSame = now !== null && now.row.state === CLEAN && now.row.size === row.size &&
    now.version?.etag === version?.etag && now.version?.mtimeNs === version?.mtimeNs;
  if (!isSame || (object !== null && isIt(object))) return;
  state.lacking++;
  state.lackingBytes += row.size;
  if (!state.dryRun) intake.changed(path, row.size);
}
