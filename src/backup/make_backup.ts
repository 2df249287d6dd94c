/**
 * Makes one backup while the daemon runs: each database is copied as of one moment to a file beside it,
 * then stored from there.
 *
 * The manifest is copied before the access log. What changes after the moment in `madeAt` may be in the
 * copy or not: whoever puts it back trusts nothing that changed since (`restore_manifest.ts`).
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { DepotFiles } from "../../ffi/files.ts";
import type { AccessLog } from "../access/access_log.ts";
import { type DepotPath, STATE_DIR } from "../depot_path.ts";
import { openContent } from "../cache/upload_content.ts";
import type { Config } from "../config/config.ts";
import { configDocument } from "../config/print.ts";
import { sizeText } from "../amounts.ts";
import { EnvironmentError } from "../errors.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { type Backend, SLICE_BYTES } from "../storage/backend.ts";
import { bytesContent } from "../storage/bytes_content.ts";
import { VERSION } from "../version.ts";
import {
  ACCESS_FILE,
  type Backup,
  type BackupInfo,
  CONFIG_FILE,
  INFO_FILE,
  MANIFEST_FILE,
  nameOf,
  pathOf,
} from "./backup_set.ts";

/** Where the copies are until they are stored. */
const COPY_DIR = `${STATE_DIR}/backup`;

/** What a backup is made of. */
export interface BackupParts {
  readonly config: Config;
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly accessLog: AccessLog | null;
  /** The storage's name for people. */
  readonly storage: string;
}

/**
 * Makes a backup. One at a time.
 * @param isCompact See {@link Manifest.copyTo}.
 * @throws EnvironmentError when the disk has no room for the copies; StorageError
 */
export async function makeBackup(
  parts: BackupParts,
  place: Backend,
  isCompact: boolean,
  signal: AbortSignal,
): Promise<Backup> {
  const { config, files, manifest, accessLog } = parts;
  const dir = `${config.depotPath}/${COPY_DIR}`;
  assertRoom(parts);
  await removeAll(dir);
  await Deno.mkdir(dir, { recursive: true, mode: 0o700 });
  try {
    const madeAt = new Date();
    const name = nameOf(madeAt);
    await manifest.commit();
    const tracked = manifest.counters.total;
    const copyPath = (file: string) => `${files.dir}/${COPY_DIR}/${file}`;
    await manifest.copyTo(copyPath(MANIFEST_FILE), isCompact);
    await accessLog?.copyTo(copyPath(ACCESS_FILE), isCompact);
    const stored: BackupInfo["files"] = [];
    for (const file of accessLog === null ? [MANIFEST_FILE] : [MANIFEST_FILE, ACCESS_FILE]) {
      stored.push(await storeFile(files, place, name, file, signal));
      await Deno.remove(`${dir}/${file}`);
    }
    const document = textOf(configDocument(config));
    stored.push(await storeText(place, name, CONFIG_FILE, document, signal));
    const info: BackupInfo = {
      format: 1,
      madeAt: madeAt.toISOString(),
      version: VERSION,
      depot: config.depotPath,
      storage: parts.storage,
      compact: isCompact,
      tracked,
      files: stored,
    };
    await storeText(place, name, INFO_FILE, textOf(info), signal);
    return { name, info };
  } finally {
    await removeAll(dir);
  }
}

/** A full disk would stop p4d; a backup can wait. */
function assertRoom({ config, files, manifest, accessLog }: BackupParts): void {
  const needed = manifest.usage().usedBytes + (accessLog?.usage().usedBytes ?? 0);
  const { freeBytes } = files.space();
  if (freeBytes - needed >= config.minFreeBytes) return;
  throw new EnvironmentError(
    `Cannot copy the databases beside the manifest: they have ${sizeText(needed)}, and ` +
      `${sizeText(freeBytes)} are free, of which min_free_gb keeps ${
        sizeText(config.minFreeBytes)
      }`,
  );
}

async function storeFile(
  files: DepotFiles,
  place: Backend,
  name: string,
  file: string,
  signal: AbortSignal,
): Promise<BackupInfo["files"][number]> {
  const content = await openContent(files, `${COPY_DIR}/${file}` as DepotPath);
  try {
    const hash = createHash("sha256");
    for (let at = 0; at < content.size; at += SLICE_BYTES) {
      hash.update(await content.read(at, Math.min(SLICE_BYTES, content.size - at)));
    }
    await place.put(pathOf(name, file), { ...content, mode: 0o600 }, signal);
    return { name: file, sizeBytes: content.size, sha256: hash.digest("hex") };
  } finally {
    content.close?.();
  }
}

async function storeText(
  place: Backend,
  name: string,
  file: string,
  text: string,
  signal: AbortSignal,
): Promise<BackupInfo["files"][number]> {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  await place.put(pathOf(name, file), bytesContent(bytes, Date.now()), signal);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  return { name: file, sizeBytes: bytes.length, sha256 };
}

function textOf(value: unknown): string {
  return JSON.stringify(value, null, 2) + "\n";
}

async function removeAll(dir: string): Promise<void> {
  await Deno.remove(dir, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
