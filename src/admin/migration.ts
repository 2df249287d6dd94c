/**
 * `p4-cache migrate`: copies what only the secondary has to the primary, while the daemon serves.
 *
 * The two are compared by their listings, which come in the same order; what is missing is copied,
 * verified, and at the end everything is compared once more. So a run that was cut off is gone on with
 * by another one: it copies only what is still missing.
 *
 * Interleavings, and why no newer object is replaced and no deleted file comes back (S and P are a path's
 * objects in the secondary and the primary; tests/admin/migration_test.ts forces these)
 *   1. A file was written at the path: dirty → it is not copied, since its upload will be newer. Uploaded
 *      since P was listed as missing → a copy takes place only where nothing is (`ifAbsent`).
 *   2. It is written while S is copied: its upload waits (`Activity.objects`) and comes after the copy.
 *   3. An upload of it was given up and may still take effect: before the copy, which then does not take
 *      place; or after it, which it replaces. Both are right. (Its file stays until its object was
 *      looked at, see `unsettled.ts`.)
 *      A copy that the provider makes by itself has no such condition: with an upload that was given up,
 *      the object passes through us.
 *   4. p4d deleted it: its tombstone says so, and S is not copied. Deleted while S is copied: the
 *      tombstone stays, so that the copy is garbage like any deleted file's object, and no collection
 *      begins during the copy.
 *   5. Its directory is being renamed: objects are copied by that, and an object that comes between would
 *      be taken for a newer file. Nothing is copied until no rename is pending.
 *   6. It is restored from S meanwhile: both are the same; its record then learns of P's tag.
 *   7. A crash, or the operator stops it: what was copied is there whole, or not at all.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Activity } from "../cache/activity.ts";
import { isNeverStored } from "../cache/exclusion.ts";
import type { Unsettled } from "../cache/unsettled.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN } from "../manifest/schema.ts";
import { describeError } from "../observe/logging.ts";
import {
  type Backend,
  type Content,
  type CopySource,
  type ListedObject,
  nullIfAbsent,
  SLICE_BYTES,
  StorageError,
} from "../storage/backend.ts";
import { pause } from "../storage/backoff.ts";
import { contentDigest, sliceCount, sliceDigest } from "../storage/content_digest.ts";
import { remoteContent } from "../storage/remote_content.ts";

/** How often progress is told, ms. */
const TICK_MS = 200;

/** Objects of a listing between two looks at the time. */
const STEP = 500;

/** Problems told one by one; the rest is only counted. */
const MAX_PROBLEMS = 100;

/** What it works on. */
export interface MigrationParts {
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly primary: Backend;
  readonly secondary: Backend;
  readonly unsettled: Pick<Unsettled, "has">;
  /** Where the provider itself can copy from; null: it cannot. */
  readonly source: Omit<CopySource, "info"> | null;
  /** Whether objects of renamed directories are still being copied. */
  readonly isCopying: () => boolean;
  /** Called when an upload may have waited for a copy. */
  readonly onFreed: (path: DepotPath) => void;
}

/** How it is done. */
export interface MigrationOptions {
  /** Only compare. */
  readonly dryRun: boolean;
  /** Objects copied side by side. */
  readonly atOnce: number;
  /** Read each copy back and compare its content; else what the storage says of it is compared. */
  readonly readBack: boolean;
  /** Called before so many bytes are read: a wait makes it slower. */
  readonly pace: (bytes: number) => Promise<void>;
}

/** How far it is. */
export interface MigrationState {
  phase: "comparing" | "copying" | "checking" | "done";
  readonly dryRun: boolean;
  /** Objects of the secondary. */
  objects: number;
  /** Of those, what the primary lacks. */
  missing: number;
  missingBytes: number;
  copied: number;
  copiedBytes: number;
  /** Not copied: p4d deleted the file. */
  deleted: number;
  /** For another run: the file is to be uploaded, or something else goes on with it. */
  waiting: number;
  failed: number;
  /** What could not be copied, and why. */
  problems: string[];
  /** After the check: what the primary still lacks; null before. */
  left: number | null;
}

/** Copies, and tells how far it is. @throws StorageError when a listing fails */
export async function* migrate(
  parts: MigrationParts,
  options: MigrationOptions,
  signal: AbortSignal,
): AsyncGenerator<MigrationState, MigrationState, void> {
  const state: MigrationState = {
    phase: "comparing",
    dryRun: options.dryRun,
    objects: 0,
    missing: 0,
    missingBytes: 0,
    copied: 0,
    copiedBytes: 0,
    deleted: 0,
    waiting: 0,
    failed: 0,
    problems: [],
    left: null,
  };
  for await (const object of missing(parts, signal, () => state.objects++)) {
    if (object !== null && isWanted(parts, object.path)) {
      state.missing++;
      state.missingBytes += object.size;
    } else if (object !== null) state.deleted++;
    if (state.objects % STEP === 0) yield state;
  }
  if (options.dryRun || signal.aborted) return { ...state, phase: "done" };
  state.phase = "copying";
  state.deleted = 0;
  yield* copyAll(parts, options, state, signal);
  if (signal.aborted) return state;
  state.phase = "checking";
  let left = 0, looked = 0;
  for await (const object of missing(parts, signal, () => looked++)) {
    if (object !== null && isWanted(parts, object.path)) left++;
    if (looked % STEP === 0) yield state;
  }
  if (signal.aborted) return state;
  state.left = left;
  state.phase = "done";
  return state;
}

/** Copies are made beside the listing; what it finds waits until one of them has ended. */
async function* copyAll(
  parts: MigrationParts,
  options: MigrationOptions,
  state: MigrationState,
  signal: AbortSignal,
): AsyncGenerator<MigrationState, void, void> {
  const found = missing(parts, signal);
  const worker = async () => {
    for (;;) {
      const next = await found.next();
      if (next.done || signal.aborted) return;
      if (next.value !== null) await copyOne(parts, options, next.value, state, signal);
    }
  };
  const over = new AbortController();
  const ended = Promise.all(Array.from({ length: options.atOnce }, worker))
    .finally(() => over.abort());
  ended.catch(() => {}); // awaited below
  while (!over.signal.aborted) {
    await pause(TICK_MS, over.signal);
    if (!over.signal.aborted) yield state;
  }
  await ended;
}

/** For each object of the secondary: itself when the primary has none of its path, else null. */
async function* missing(
  { primary, secondary }: MigrationParts,
  signal: AbortSignal,
  onObject: () => void = () => {},
): AsyncGenerator<ListedObject | null, void, void> {
  const there = primary.list("", signal)[Symbol.asyncIterator]();
  try {
    let next = await there.next();
    for await (const object of secondary.list("", signal)) {
      if (signal.aborted) return;
      if (isNeverStored(object.path)) continue;
      while (!next.done && next.value.path < object.path) next = await there.next();
      onObject();
      yield !next.done && next.value.path === object.path ? null : object;
    }
  } finally {
    await there.return?.();
  }
}

/** Whether the secondary's object is still a file's. */
function isWanted({ manifest }: MigrationParts, path: DepotPath): boolean {
  return !manifest.isTombstoned(path);
}

/** Whether the path must be left alone for now. */
function mustWait(parts: MigrationParts, path: DepotPath): boolean {
  const { manifest, activity, isCopying } = parts;
  const record = manifest.get(path);
  return (record !== null && record.row.state !== CLEAN) || activity.uploads.has(path) ||
    activity.objects.has(path) || isCopying();
}

/** Copies one object. Never throws. */
async function copyOne(
  parts: MigrationParts,
  options: MigrationOptions,
  { path }: ListedObject,
  state: MigrationState,
  signal: AbortSignal,
): Promise<void> {
  const { activity, onFreed } = parts;
  // From here to the mark nothing else runs.
  if (!isWanted(parts, path)) return void state.deleted++;
  if (mustWait(parts, path)) return void state.waiting++;
  activity.objects.add(path);
  try {
    const copied = await transfer(parts, options, path, signal);
    if (copied === null) return;
    state.copied++;
    state.copiedBytes += copied.size;
    learnTag(parts, path, copied);
  } catch (error) {
    if (signal.aborted) return;
    state.failed++;
    const why = `${displayPath(path)}: ${describeError(error)}`;
    if (state.problems.length < MAX_PROBLEMS) state.problems.push(why);
  } finally {
    activity.objects.delete(path);
    onFreed(path);
  }
}

/**
 * Has the provider copy the object where it can. There is no condition that holds in the same step: the
 * primary is looked at before, which is as good while nobody else writes there: the path's own uploads
 * wait, and none of them may still be under way.
 * @returns Null where the object has to pass through us, or one is there by now.
 */
async function copyOnServer(
  { primary, secondary, unsettled, source }: MigrationParts,
  path: DepotPath,
  signal: AbortSignal,
): Promise<Copied | null> {
  if (source === null || unsettled.has(path)) return null;
  const info = await secondary.head(path, signal);
  // Without a digest nobody could tell whether the copy is whole.
  if (info.digest === null || await nullIfAbsent(primary.head(path, signal)) !== null) return null;
  try {
    await primary.copy(path, path, signal, { ...source, info });
  } catch (error) {
    // The primary's credentials may not read there; what was refused is read with the secondary's.
    const isRefused = error instanceof StorageError &&
      ["denied", "absent", "permanent"].includes(error.kind);
    if (isRefused) return null;
    throw error;
  }
  const copy = await primary.head(path, signal);
  if (copy.size === info.size && copy.digest === info.digest) {
    return { size: copy.size, digest: info.digest, etag: copy.etag };
  }
  throw new StorageError("corrupt", `${primary.label} made a copy that is not what was copied`);
}

/** Stores the secondary's object where the primary has none; null when there is one by now. */
async function transfer(
  parts: MigrationParts,
  { pace, readBack }: MigrationOptions,
  path: DepotPath,
  signal: AbortSignal,
): Promise<Copied | null> {
  const { primary, secondary } = parts;
  const onServer = readBack ? null : await copyOnServer(parts, path, signal);
  if (onServer !== null) return onServer;
  const content = await remoteContent(secondary, path, signal, pace);
  let etag: string;
  try {
    etag = (await primary.put(path, content, signal, { ifAbsent: true })).etag;
  } catch (error) {
    if (error instanceof StorageError && error.kind === "conflict") return null;
    throw error;
  }
  const info = await primary.head(path, signal);
  // Replaced since by a newer one: what is there now is not ours to judge.
  if (info.etag !== etag) return null;
  const isWhole = info.size === content.size &&
    (info.digest === null || info.digest === content.digest) &&
    (!readBack || await digestOf(primary, path, content, etag, signal) === content.digest);
  if (isWhole) return { size: content.size, digest: content.digest, etag };
  await primary.delete(path, signal);
  throw new StorageError(
    "corrupt",
    `${primary.label} gave back something else than was stored; the copy is removed`,
  );
}

/** What a copy is. */
interface Copied {
  readonly size: number;
  readonly digest: string;
  readonly etag: string;
}

/** Digest of what is stored, read a slice at a time. */
async function digestOf(
  backend: Backend,
  path: DepotPath,
  { size }: Content,
  ifMatch: string,
  signal: AbortSignal,
): Promise<string> {
  const digests: Uint8Array[] = [];
  const options = ifMatch === "" ? { signal } : { signal, ifMatch };
  for (let i = 0; i < sliceCount(size); i++) {
    const { bytes } = await backend.getRange(path, i * SLICE_BYTES, SLICE_BYTES, options);
    digests.push(sliceDigest(bytes));
  }
  return contentDigest(digests);
}

/** A file that had been restored from the secondary is from now on the version in the primary. */
function learnTag({ manifest }: MigrationParts, path: DepotPath, { digest, etag }: Copied): void {
  const record = manifest.get(path);
  const version = record?.version ?? null;
  if (record === null || version === null || version.digest !== digest) return;
  manifest.set(path, { row: record.row, version: { ...version, etag } });
}
