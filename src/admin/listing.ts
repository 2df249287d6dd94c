/**
 * `p4-cache ls` and `p4-cache queue`: which files there are, and where.
 *
 * @module
 */

import type { Activity } from "../cache/activity.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN } from "../manifest/schema.ts";
import type { Backend, ListedObject } from "../storage/backend.ts";

/** Where a file is: only on the disk yet, on the disk and stored, only stored. */
export type Place = "dirty" | "clean" | "remote";

/** One file of a listing. */
export interface ListedFile {
  /** For people: odd bytes as `\xNN`. */
  readonly path: string;
  readonly place: Place;
  readonly size: number;
  /** Last access of a file on the disk, seconds since the epoch. */
  readonly lastAccess: number | null;
}

/** A file that waits for upload. */
export interface QueuedFile {
  readonly path: string;
  readonly size: number;
  readonly dirtySeconds: number;
  readonly uploading: boolean;
}

/** Files a listing tells at once. */
const PAGE = 500;

/**
 * Lists the files at or below a path ("" lists all), in byte order, in pages. What p4d deleted is
 * left out, though its object may still be there.
 * @param backend Null: only what is on the disk.
 */
export async function* listFiles(
  manifest: Manifest,
  backend: Backend | null,
  path: string,
  signal: AbortSignal,
): AsyncGenerator<ListedFile[], null, void> {
  const local = localFiles(manifest, path);
  const remote = remoteFiles(backend, path, signal);
  let page: ListedFile[] = [];
  let [here, there] = await Promise.all([local.next(), remote.next()]);
  while (!signal.aborted && !(here.done && there.done)) {
    // Both come in byte order: whichever is first, or both when they are the same file.
    const takeHere = there.done || (!here.done && here.value <= there.value.path);
    const takeThere = here.done || (!there.done && there.value.path <= here.value);
    const file = takeHere && !here.done
      ? localFile(manifest, here.value)
      : !there.done && !manifest.isTombstoned(there.value.path)
      ? remoteFile(there.value)
      : null;
    if (file !== null) page.push(file);
    if (page.length === PAGE) {
      yield page;
      page = [];
    }
    if (takeHere) here = await local.next();
    if (takeThere) there = await remote.next();
  }
  if (page.length > 0) yield page;
  return null;
}

/** Files waiting for upload, oldest first. */
export async function listQueue(
  manifest: Manifest,
  activity: Activity,
  limit: number,
): Promise<{ total: number; files: QueuedFile[] }> {
  const files: QueuedFile[] = [];
  const nowSeconds = Math.floor(Date.now() / 1000);
  for (let after = ""; files.length < limit;) {
    const page = await manifest.dirtyAfter(after);
    if (page.length === 0) break;
    for (const { path, seconds } of page.slice(0, limit - files.length)) {
      const record = manifest.get(path);
      if (record === null || record.row.state === CLEAN) continue;
      files.push({
        path: displayPath(path),
        size: record.row.size,
        dirtySeconds: Math.max(0, nowSeconds - seconds),
        uploading: activity.uploads.has(path),
      });
    }
    after = page.at(-1)!.key;
  }
  return { total: manifest.counters.dirty, files };
}

/** Tracked paths that are the path itself or below it. @param from Only those behind this path. */
export async function* localFiles(
  manifest: Manifest,
  path: string,
  from = "",
): AsyncGenerator<DepotPath, null, void> {
  await manifest.commit(); // pages are read from what is committed
  if (path > from && manifest.get(path) !== null) yield path as DepotPath;
  const prefix = path === "" ? "" : path + "/";
  for (let after = prefix > from ? prefix : from;;) {
    const page = await manifest.pathsAfter(after);
    for (const each of page) {
      if (!each.startsWith(prefix)) return null;
      yield each;
    }
    if (page.length === 0) return null;
    after = page.at(-1)!;
  }
}

/**
 * The objects of a file, or of all below a directory.
 * @param backend Null: there is none, and nothing is told.
 * @param path "" is the whole depot.
 * @param from Only what comes after this path.
 * @throws StorageError
 */
export async function* remoteFiles(
  backend: Backend | null,
  path: string,
  signal: AbortSignal,
  from?: string,
): AsyncGenerator<ListedObject, null, void> {
  if (backend === null) return null;
  for await (const object of backend.list(path, signal, from)) {
    const below = path === "" || object.path === path || object.path.startsWith(path + "/");
    if (below) yield object;
  }
  return null;
}

function localFile(manifest: Manifest, path: DepotPath): ListedFile | null {
  const row = manifest.get(path)?.row;
  if (row === undefined) return null;
  return {
    path: displayPath(path),
    place: row.state === CLEAN ? "clean" : "dirty",
    size: row.size,
    lastAccess: row.lastAccess,
  };
}

function remoteFile({ path, size }: ListedObject): ListedFile {
  return { path: displayPath(path), place: "remote", size, lastAccess: null };
}
