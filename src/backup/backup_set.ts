/**
 * What a backup is: a folder named by its time, with
 *
 *     manifest.mdb   the manifest, an LMDB data file (mdb_dump reads it)
 *     access.mdb     the access log, where the daemon keeps one
 *     config.json    the configuration without its secrets
 *     backup.json    this description, stored last: a folder without it is no backup
 *
 * @module
 */

import * as v from "valibot";
import type { DepotPath } from "../depot_path.ts";
import { EnvironmentError } from "../errors.ts";
import type { Backend } from "../storage/backend.ts";

/** Names of the files of a backup. */
export const MANIFEST_FILE = "manifest.mdb", ACCESS_FILE = "access.mdb";
export const CONFIG_FILE = "config.json", INFO_FILE = "backup.json";

/** Folders as {@link nameOf} writes them: byte order is time order. */
const NAME = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ$/;

/** Largest description that is read, bytes. */
const MAX_INFO_BYTES = 64 * 1024;

const INFO = v.object({
  format: v.literal(1),
  /** UTC; nothing that was recorded later is in it. */
  madeAt: v.pipe(v.string(), v.isoTimestamp()),
  /** Of the program. */
  version: v.string(),
  depot: v.string(),
  /** Where the objects are. */
  storage: v.string(),
  compact: v.boolean(),
  /** Files that the manifest tracks. */
  tracked: v.number(),
  files: v.array(v.object({
    name: v.string(),
    sizeBytes: v.number(),
    /** Hexadecimal, as sha256sum prints it. */
    sha256: v.string(),
  })),
});

/** The description of a backup. */
export type BackupInfo = v.InferOutput<typeof INFO>;

/** One backup of a place. */
export interface Backup {
  readonly name: string;
  readonly info: BackupInfo;
}

/** Name of the backup made at a time. */
export function nameOf(madeAt: Date): string {
  return madeAt.toISOString().slice(0, 19).replaceAll(":", "-") + "Z";
}

/** Path of a backup's file in its place. */
export function pathOf(name: string, file: string): DepotPath {
  return `${name}/${file}` as DepotPath;
}

/** When the backup of this name was made, ms since the epoch. */
export function timeOfName(name: string): number {
  return Date.parse(name.slice(0, 13) + name.slice(13).replaceAll("-", ":"));
}

/** What is in a place. */
export interface Folders {
  /** Names of the backups, the oldest first. */
  readonly whole: string[];
  /** Folders of backups that were begun and not ended. */
  readonly begun: string[];
  /** Paths of all files, by folder. */
  readonly paths: ReadonlyMap<string, DepotPath[]>;
}

/** Lists a place. @throws StorageError */
export async function listFolders(place: Backend, signal: AbortSignal): Promise<Folders> {
  const paths = new Map<string, DepotPath[]>();
  const whole: string[] = [];
  for await (const { path } of place.list("", signal)) {
    const [name, file] = path.split("/") as [string, string];
    if (!NAME.test(name)) continue;
    const known = paths.get(name) ?? [];
    paths.set(name, known);
    known.push(path);
    if (file === INFO_FILE) whole.push(name);
  }
  const begun = [...paths.keys()].filter((name) => !whole.includes(name));
  return { whole: whole.sort(), begun, paths };
}

/** Reads the description of a backup. @throws EnvironmentError when it makes no sense. */
export async function readInfo(
  place: Backend,
  name: string,
  signal: AbortSignal,
): Promise<BackupInfo> {
  const path = pathOf(name, INFO_FILE);
  const { bytes } = await place.getRange(path, 0, MAX_INFO_BYTES, { signal });
  try {
    return v.parse(INFO, JSON.parse(new TextDecoder().decode(bytes)));
  } catch (error) {
    throw new EnvironmentError(
      `Cannot read ${path} in ${place.label}: ${(error as Error).message}; a newer p4-cache may ` +
        "have made it",
    );
  }
}

/**
 * The backup that is meant.
 * @param at The latest that is not younger, ms since the epoch; null: the latest.
 * @throws EnvironmentError when there is none.
 */
export async function chooseBackup(
  place: Backend,
  at: number | null,
  signal: AbortSignal,
): Promise<Backup> {
  const { whole } = await listFolders(place, signal);
  const name = whole.findLast((name) => at === null || timeOfName(name) <= at);
  if (name !== undefined) return { name, info: await readInfo(place, name, signal) };
  throw new EnvironmentError(
    at === null || whole.length === 0
      ? `Cannot find a backup in ${place.label}: there is none`
      : `Cannot find a backup in ${place.label} from before ${new Date(at).toISOString()}: the ` +
        `oldest is ${whole[0]}`,
  );
}

/** Removes a backup; its description goes first, so that no part of one is taken for a whole. */
async function removeBackup(
  place: Backend,
  name: string,
  { paths }: Folders,
  signal: AbortSignal,
): Promise<void> {
  const info = pathOf(name, INFO_FILE);
  await place.delete(info, signal);
  for (const path of paths.get(name) ?? []) if (path !== info) await place.delete(path, signal);
}

/**
 * Removes the oldest backups beyond so many, and what was begun a day ago and not ended.
 * @returns Names of the backups that were removed.
 */
export async function pruneBackups(
  place: Backend,
  keep: number,
  nowMs: number,
  signal: AbortSignal,
): Promise<string[]> {
  const DAY_MS = 86_400_000;
  const folders = await listFolders(place, signal);
  const old = folders.whole.slice(0, Math.max(0, folders.whole.length - keep));
  const stale = folders.begun.filter((name) => nowMs - timeOfName(name) > DAY_MS);
  for (const name of [...old, ...stale]) await removeBackup(place, name, folders, signal);
  return old;
}
