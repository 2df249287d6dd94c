/**
 * Earlier versions of objects, where the bucket keeps them: how they are listed and read, and what was
 * there at a moment. Apart from the contract of `backend.ts`, which the engine relies on: only people
 * look back.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import { type ObjectPart, SLICE_BYTES, StorageError } from "./backend.ts";
import { contentDigest, sliceDigest } from "./content_digest.ts";
import { ESCAPED_DIR, escapePath, pathOfKey } from "./object_keys.ts";
import { plainStart } from "./key_listing.ts";
import { isProbeObject } from "./probe.ts";
import { STATE_DIR } from "../depot_path.ts";

/** A version of an object, or its deletion. */
export interface ObjectVersion {
  readonly path: DepotPath;
  /** What the provider calls it; of a deletion, anything. */
  readonly version: string;
  readonly size: number;
  /** When it was stored or deleted, by the provider's clock, ms since the epoch. */
  readonly storedMs: number;
  readonly isDeleted: boolean;
}

/** The versions that a place keeps. */
export interface History {
  /** For people: `s3://bucket/prefix`. */
  readonly label: string;
  /**
   * All versions of the objects whose path starts with `prefix`. Those of one path come one after
   * another; of two that have the same time, the newer one first.
   */
  versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion>;
  /** Reads up to `length` bytes at `offset`, as `Backend.getRange` does. @throws StorageError */
  read(
    path: DepotPath,
    version: string,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart>;
  /** Frees connections. */
  close(): Promise<void>;
}

/** A version by the provider's key. */
export interface KeyVersion extends Omit<ObjectVersion, "path"> {
  /** One character per byte. */
  readonly key: string;
}

/** Turns a listing by keys into one by depot paths; what is not the depot's is left out. */
export async function* versionsByPath(
  list: (keyPrefix: string) => AsyncIterable<KeyVersion>,
  keyPrefix: string,
  prefix: string,
): AsyncIterable<ObjectVersion> {
  const under = keyPrefix === "" ? "" : keyPrefix + "/";
  const starts = [ESCAPED_DIR + escapePath(prefix), plainStart(prefix)];
  for (const [i, start] of starts.entries()) {
    for await (const { key, ...version } of list(under + start)) {
      const isOurs = key.startsWith(`${under}${STATE_DIR}/`);
      const path = isOurs === (i === 0) ? pathOfKey(keyPrefix, key) : null;
      if (path === null || !path.startsWith(prefix) || isProbeObject(path)) continue;
      yield { ...version, path };
    }
  }
}

/** What was there at a moment: of each path the version that was the latest then, unless deleted. */
export async function* versionsAt(
  history: History,
  prefix: string,
  atMs: number,
  signal: AbortSignal,
): AsyncGenerator<ObjectVersion, void, void> {
  let path: DepotPath | null = null;
  let latest: ObjectVersion | null = null;
  for await (const version of history.versions(prefix, signal)) {
    if (version.path !== path) {
      if (latest !== null && !latest.isDeleted) yield latest;
      path = version.path;
      latest = null;
    }
    if (version.storedMs > atMs) continue;
    if (latest === null || version.storedMs > latest.storedMs) latest = version;
  }
  if (latest !== null && !latest.isDeleted) yield latest;
}

/**
 * The version of one path at a moment.
 * @throws StorageError absent, saying what is known of the path
 */
export async function versionAt(
  history: History,
  path: DepotPath,
  atMs: number,
  signal: AbortSignal,
): Promise<ObjectVersion> {
  let oldestMs = Infinity, deletedMs = -Infinity;
  let latest: ObjectVersion | null = null;
  for await (const version of history.versions(path, signal)) {
    if (version.path !== path) continue;
    oldestMs = Math.min(oldestMs, version.storedMs);
    if (version.storedMs > atMs) continue;
    if (latest === null || version.storedMs > latest.storedMs) latest = version;
  }
  if (latest?.isDeleted) deletedMs = latest.storedMs;
  else if (latest !== null) return latest;
  const why = deletedMs > -Infinity
    ? `it was deleted at ${timeText(deletedMs)}`
    : oldestMs < Infinity
    ? `the oldest version that is kept is of ${timeText(oldestMs)}; versions are kept from when ` +
      "the bucket's versioning was turned on"
    : "there was never such an object, or the bucket's versioning is off";
  throw new StorageError("absent", `Cannot find it in ${history.label} at that time: ${why}`);
}

/**
 * Reads a version whole.
 * @param take Gets its bytes, in order.
 * @throws StorageError corrupt when it is not what was uploaded
 */
export async function readVersion(
  history: History,
  { path, version }: ObjectVersion,
  take: (bytes: Uint8Array) => void,
  signal: AbortSignal,
): Promise<ObjectPart["info"]> {
  const digests: Uint8Array[] = [];
  for (let at = 0;;) {
    const { info, bytes } = await history.read(path, version, at, SLICE_BYTES, signal);
    digests.push(sliceDigest(bytes));
    take(bytes);
    at += bytes.length;
    if (at < info.size && bytes.length > 0) continue;
    if (info.digest === null || info.digest === contentDigest(digests)) return info;
    throw new StorageError("corrupt", `${history.label} holds other content than was uploaded`);
  }
}

function timeText(ms: number): string {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}
