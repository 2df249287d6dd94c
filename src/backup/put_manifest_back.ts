/**
 * The steps of `restore-manifest` around the manifest itself: the lock, the fetch, the change of places.
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";
import { Kv, KvError } from "../../ffi/kv.ts";
import { pathFromText, STATE_DIR } from "../depot_path.ts";
import { createExclusion } from "../cache/exclusion.ts";
import { prepareStateDir } from "../cache/state_dir.ts";
import type { Config } from "../config/config.ts";
import { EnvironmentError } from "../errors.ts";
import { exists } from "../exists.ts";
import { migrateManifest, openManifest } from "../manifest/open_manifest.ts";
import { storageKeys } from "../manifest/storage_keys.ts";
import type { Backend } from "../storage/backend.ts";
import { openBackend } from "../storage/open_backend.ts";
import { RetryingBackend } from "../storage/retrying.ts";
import { ACCESS_FILE, type Backup, MANIFEST_FILE, nameOf } from "./backup_set.ts";
import { fetchBackupFile } from "./read_backup.ts";
import {
  keepTrash,
  prepareManifest,
  type RestoreParts,
  type RestoreReport,
} from "./restore_manifest.ts";

/** The name of an LMDB environment's data. */
const DATA_FILE = "data.mdb";

/** What the directories begin with in which a manifest is made fit. */
const WORK_PREFIX = "restored-";

/** Which backup of which depot. */
export interface PutParts {
  readonly config: Config;
  readonly place: Backend;
  readonly backup: Backup;
  /** Told what is being done, a line at a time. */
  readonly tell: (line: string) => void;
}

/** What was done. */
export interface PutResult {
  readonly report: RestoreReport;
  /** Where the manifest before is kept; null: there was none. */
  readonly replaced: string | null;
  /** Whether the access log was restored, too: only where there is none. */
  readonly accessLog: boolean;
}

/**
 * Puts the backup's manifest in place, or says what that would mean.
 * @throws EnvironmentError while a daemon serves the depot, on a replica, and when the manifest that is
 *   there can be read, unless forced; StorageError
 */
export async function putManifestBack(
  { config, place, backup, tell }: PutParts,
  { isDry, isForced }: { readonly isDry: boolean; readonly isForced: boolean },
  signal: AbortSignal,
): Promise<PutResult> {
  const { depotPath } = config;
  if (config.readOnly) {
    throw new EnvironmentError("Cannot put a manifest back: a replica needs none of old");
  }
  const files = new DepotFiles(pathFromText(depotPath));
  const stateDir = `${depotPath}/${STATE_DIR}`;
  const owner = Deno.statSync(exists(stateDir) ? stateDir : depotPath);
  let primary: Backend | null = null;
  let work: string | null = null;
  try {
    const present = `${stateDir}/manifest`;
    if (!isDry) {
      lockDepot(files, depotPath);
      if (!isForced && tracked(present) > 0) {
        throw new EnvironmentError(
          `Cannot put a manifest back: ${present} can be read, and knows more than one of old; ` +
            "--force replaces it all the same",
        );
      }
    }
    const isServed = exists(stateDir);
    if (isServed && !isDry) removeLeftovers(stateDir);
    work = await Deno.makeTempDir(isServed ? { dir: stateDir, prefix: WORK_PREFIX } : {});
    tell("p4-cache: fetching the backup\n");
    await fetchBackupFile(place, backup, MANIFEST_FILE, `${work}/${DATA_FILE}`, signal);
    primary = new RetryingBackend(await openBackend(config.primary));
    const trash = isServed && exists(`${stateDir}/trash`) ? `${stateDir}/trash` : null;
    const trashNames = trash === null
      ? []
      : Array.from(Deno.readDirSync(trash), (entry) => entry.name);
    const parts = { files, primary, trashNames, madeAtMs: Date.parse(backup.info.madeAt) };
    const report = await prepared(config, work, { ...parts, tell }, isDry, signal);
    if (isDry) return { report, replaced: null, accessLog: false };
    // Before the change of places: what the new manifest does not know would be removed at the start.
    keepTrash(files, trashNames, Date.now());
    const accessLog = await putAccessLog(config, place, backup, signal);
    const kept = `${present}.replaced-${nameOf(new Date())}`;
    const replaced = exists(`${present}/${DATA_FILE}`) ? kept : null;
    Deno.renameSync(present, kept);
    if (replaced === null) Deno.removeSync(kept, { recursive: true });
    Deno.chmodSync(work, 0o755);
    Deno.renameSync(work, present);
    work = null;
    for (const dir of [stateDir, config.accessDbPath]) giveTo(owner, dir);
    return { report, replaced, accessLog };
  } finally {
    if (work !== null) await Deno.remove(work, { recursive: true });
    await primary?.close();
    files.close();
  }
}

/** Opens the manifest in the directory, and has it made fit. */
async function prepared(
  config: Config,
  work: string,
  parts:
    & Pick<RestoreParts, "files" | "primary" | "trashNames" | "madeAtMs">
    & Pick<PutParts, "tell">,
  isDry: boolean,
  signal: AbortSignal,
): Promise<RestoreReport> {
  const dir = pathFromText(work);
  await migrateManifest(dir);
  let failure: unknown = null;
  const manifest = openManifest(
    dir,
    storageKeys(config.primary),
    (error) => failure ??= error,
    config.evictPolicy,
  );
  let report: RestoreReport;
  try {
    const isExcluded = createExclusion(config.exclude);
    const onProgress = (what: string) => parts.tell(`p4-cache: ${what}\n`);
    report = await prepareManifest({ ...parts, manifest, isExcluded, onProgress }, isDry, signal);
  } finally {
    await manifest.close();
  }
  if (failure !== null) throw failure;
  return report;
}

/** Only where there is none: the one that is there is newer. */
async function putAccessLog(
  { accessDbPath, accessLogEnabled }: Config,
  place: Backend,
  backup: Backup,
  signal: AbortSignal,
): Promise<boolean> {
  const isKept = backup.info.files.some(({ name }) => name === ACCESS_FILE);
  if (!isKept || !accessLogEnabled || exists(`${accessDbPath}/${DATA_FILE}`)) return false;
  await Deno.mkdir(accessDbPath, { recursive: true, mode: 0o755 });
  const temporary = `${accessDbPath}/${DATA_FILE}.restored`;
  if (exists(temporary)) await Deno.remove(temporary);
  await fetchBackupFile(place, backup, ACCESS_FILE, temporary, signal);
  await Deno.rename(temporary, `${accessDbPath}/${DATA_FILE}`);
  return true;
}

/** Keeps daemons away until this process ends. @throws EnvironmentError while one serves the depot */
function lockDepot(files: DepotFiles, depotPath: string): void {
  try {
    prepareStateDir(files, depotPath);
  } catch (error) {
    if (!(error instanceof EnvironmentError)) throw error;
    throw new EnvironmentError(error.message.replace("Cannot start", "Cannot put a manifest back"));
  }
}

/** What root made here is to be the daemon's, which mostly runs as another user. */
function giveTo(owner: Pick<Deno.FileInfo, "uid" | "gid">, path: string): void {
  const { uid, gid } = owner;
  if (Deno.uid() !== 0 || uid === 0 || uid === null || !exists(path)) return;
  const there = Deno.lstatSync(path);
  if (there.isSymlink) return;
  if (there.uid === 0) Deno.chownSync(path, uid, gid);
  if (!there.isDirectory) return;
  for (const { name } of Deno.readDirSync(path)) giveTo(owner, `${path}/${name}`);
}

/** What a run that was killed left. */
function removeLeftovers(stateDir: string): void {
  for (const { name } of Deno.readDirSync(stateDir)) {
    if (name.startsWith(WORK_PREFIX)) Deno.removeSync(`${stateDir}/${name}`, { recursive: true });
  }
}

/** Files that the manifest there tracks; 0 when there is none, or it cannot be read. */
function tracked(dir: string): number {
  if (!exists(`${dir}/${DATA_FILE}`)) return 0;
  try {
    const kv = new Kv(pathFromText(dir), 0, { readOnly: true });
    try {
      return kv.info(kv.database("files")).entries;
    } finally {
      kv.close();
    }
  } catch (error) {
    if (error instanceof KvError) return 0;
    throw error;
  }
}
