/**
 * `p4-cache verify`: whether disk, manifest and storage tell the same, file by file. Changes nothing.
 *
 * All the while files change. So whatever differs is looked at once more, after every event so far has been
 * taken in; only what differs then too is a finding.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Activity } from "../cache/activity.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Intake } from "../cache/intake.ts";
import { openContent } from "../cache/upload_content.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN, type Version } from "../manifest/schema.ts";
import { isVersion } from "../manifest/transitions.ts";
import { describeError } from "../observe/logging.ts";
import { type Backend, type ListedObject, nullIfAbsent, SLICE_BYTES } from "../storage/backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "../storage/content_digest.ts";
import { localFiles, remoteFiles } from "./listing.ts";

/** What can be wrong with a file. */
export type FindingKind =
  /** The manifest says that it is on the disk. */
  | "missing_on_disk"
  /** It changed, and no event told so: it is not the version that was uploaded. */
  | "changed_unnoticed"
  /** It was uploaded, and the storage has no such object. */
  | "missing_in_storage"
  /** The storage has another version than was uploaded. */
  | "other_version"
  /** Its bytes are not those that were uploaded (`--deep`). */
  | "wrong_content_here"
  | "wrong_content_in_storage"
  /** It could not be looked at. */
  | "unreadable";

/** One thing that is wrong. */
export interface VerifyFinding {
  readonly kind: FindingKind;
  /** For people: odd bytes as `\xNN`. */
  readonly path: string;
  readonly what: string;
}

/** How far it is. */
export interface VerifyState {
  /** Files looked at, on the disk or only stored. */
  files: number;
  /** Files whose content was read. */
  read: number;
  bytes: number;
  findings: number;
}

/** What it works on. */
export interface VerifyParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly intake: Intake;
  readonly backend: Backend;
}

/** How thorough it is. */
export interface VerifyOptions {
  /** Read contents, here and in the storage. */
  readonly deep: boolean;
  /** Of the files, so many in a hundred, chosen at random, are read. */
  readonly percent: number;
  /** Called before each file: a wait makes it slower. */
  readonly pace: () => Promise<void>;
  /** Only files behind this path, in the order of bytes: an earlier run came so far. "": all. */
  readonly after: DepotPath;
}

/** Progress, with what was found since the last. */
export interface VerifyProgress extends VerifyState {
  /** The last file that was compared. */
  readonly at: DepotPath;
  readonly found: readonly VerifyFinding[];
}

/** Files after which progress is told. */
const TICK = 500;

/** Compares everything below a path ("" is the depot). */
export async function* verify(
  parts: VerifyParts,
  path: string,
  options: VerifyOptions,
  signal: AbortSignal,
): AsyncGenerator<VerifyProgress, VerifyState, void> {
  const state: VerifyState = { files: 0, read: 0, bytes: 0, findings: 0 };
  const local = localFiles(parts.manifest, path, options.after);
  const remote = remoteFiles(parts.backend, path, signal, options.after);
  let [here, there] = await Promise.all([local.next(), remote.next()]);
  let found: VerifyFinding[] = [];
  while (!signal.aborted && !(here.done && there.done)) {
    // Both come in byte order: whichever is first, or both when they are the same file.
    const takeHere = there.done || (!here.done && here.value <= there.value.path);
    const takeThere = here.done || (!there.done && there.value.path <= here.value);
    const object = takeThere && !there.done ? there.value : null;
    const name = takeHere && !here.done ? here.value : object!.path;
    await options.pace();
    const isRead = options.deep && Math.random() * 100 < options.percent;
    try {
      const finding = takeHere
        ? await verifyLocal(parts, name, object, isRead, state, signal)
        : await verifyRemote(parts, name, isRead, state, signal);
      if (finding !== null) found.push({ ...finding, path: displayPath(name) });
    } catch (error) {
      if (signal.aborted) break;
      found.push({ kind: "unreadable", path: displayPath(name), what: describeError(error) });
    }
    state.files++;
    if (state.files % TICK === 0 || found.length > 0) {
      state.findings += found.length;
      yield { ...state, found, at: name };
      found = [];
    }
    if (takeHere) here = await local.next();
    if (takeThere) there = await remote.next();
  }
  return state;
}

type Found = { readonly kind: FindingKind; readonly what: string } | null;

/** A file that the manifest says is here. */
async function verifyLocal(
  parts: VerifyParts,
  path: DepotPath,
  object: ListedObject | null,
  isRead: boolean,
  state: VerifyState,
  signal: AbortSignal,
): Promise<Found> {
  const version = verifiable(parts, path);
  if (version === null) return null;
  const differs = await onDisk(parts, path, version) ??
    await inStorage(parts, path, version, object, signal);
  if (differs !== null || !isRead) return await confirmed(parts, path, version, differs);
  state.read++;
  state.bytes += version.size;
  return await confirmed(parts, path, version, await readBoth(parts, path, version, signal));
}

/** The version that was uploaded, where nothing goes on with the file and there is one. */
function verifiable({ manifest, activity }: VerifyParts, path: DepotPath): Version | null {
  const record = manifest.get(path);
  const isBusy = activity.uploads.has(path) || activity.evictions.has(path) ||
    activity.restores.has(path);
  return record === null || isBusy || record.row.state !== CLEAN ? null : record.version;
}

/** A difference counts only when the record is still the same after all events so far. */
async function confirmed(
  parts: VerifyParts,
  path: DepotPath,
  version: Version,
  found: Found,
): Promise<Found> {
  if (found === null) return null;
  await parts.intake.barrier();
  const now = verifiable(parts, path);
  const isSame = now !== null && now.etag === version.etag && now.mtimeNs === version.mtimeNs &&
    now.size === version.size && now.digest === version.digest;
  return isSame ? found : null;
}

async function onDisk(
  { files, intake }: VerifyParts,
  path: DepotPath,
  { size, mtimeNs, mode }: Version,
): Promise<Found> {
  const isIt = () => {
    const stat = files.stat(path);
    return stat === null ? null : isVersion(
      { size, mtimeNs, mode, digest: "", etag: "" },
      stat.size,
      stat.mtimeNs,
      stat.mode,
    );
  };
  if (isIt() === true) return null;
  await intake.barrier();
  switch (isIt()) {
    case true:
      return null;
    case null:
      return { kind: "missing_on_disk", what: "the manifest has it, the disk does not" };
    case false:
      return { kind: "changed_unnoticed", what: "it is not the version that was uploaded" };
  }
}

async function inStorage(
  { backend }: VerifyParts,
  path: DepotPath,
  version: Version,
  listed: ListedObject | null,
  signal: AbortSignal,
): Promise<Found> {
  const isListed = listed !== null && listed.size === version.size &&
    (listed.etag === version.etag || version.etag === "");
  if (isListed) return null;
  // A listing is older than this moment, and may write its tags in another way.
  const object = await nullIfAbsent(backend.head(path, signal));
  if (object === null) {
    return { kind: "missing_in_storage", what: "it was uploaded, and is not there" };
  }
  const { size, etag } = object;
  if (size === version.size && (etag === version.etag || version.etag === "")) return null;
  const what =
    `the storage has ${size} bytes (${etag}), uploaded were ${version.size} (${version.etag})`;
  return { kind: "other_version", what };
}

async function readBoth(
  { files, backend }: VerifyParts,
  path: DepotPath,
  version: Version,
  signal: AbortSignal,
): Promise<Found> {
  if (version.digest === "") return null;
  const content = await openContent(files, path);
  content.close?.();
  if (content.digest !== version.digest) {
    return {
      kind: "wrong_content_here",
      what: `expected ${version.digest}, got ${content.digest}`,
    };
  }
  const stored = await storedDigest(backend, path, signal);
  if (stored.computed === version.digest) return null;
  return {
    kind: "wrong_content_in_storage",
    what: `expected ${version.digest}, got ${stored.computed}`,
  };
}

/** A file that is only stored: all that is known of it is what was stored with it. */
async function verifyRemote(
  { backend, manifest }: VerifyParts,
  path: DepotPath,
  isRead: boolean,
  state: VerifyState,
  signal: AbortSignal,
): Promise<Found> {
  if (!isRead || manifest.isTombstoned(path) || manifest.get(path) !== null) return null;
  state.read++;
  const stored = await nullIfAbsent(storedDigest(backend, path, signal));
  // Removed since it was listed.
  if (stored === null) return null;
  const { computed, recorded, size } = stored;
  state.bytes += size;
  if (recorded === null || recorded === computed) return null;
  return { kind: "wrong_content_in_storage", what: `expected ${recorded}, got ${computed}` };
}

/** Reads a whole object, a slice at a time. */
async function storedDigest(
  backend: Backend,
  path: DepotPath,
  signal: AbortSignal,
): Promise<{ computed: string; recorded: string | null; size: number }> {
  const first = await backend.getRange(path, 0, SLICE_BYTES, { signal });
  const { size, digest, etag } = first.info;
  const digests = [sliceDigest(first.bytes)];
  const options = etag === "" ? { signal } : { signal, ifMatch: etag };
  for (let i = 1; i < sliceCount(size); i++) {
    const { bytes } = await backend.getRange(path, i * SLICE_BYTES, SLICE_BYTES, options);
    digests.push(sliceDigest(bytes));
  }
  return { computed: contentDigest(digests), recorded: digest, size };
}
