/**
 * Opens the manifest at start, and says in one line what is wrong with one that cannot be used.
 *
 * @module
 */

import { EDQUOT, EIO, ENOMEM, ENOSPC } from "../../ffi/errno.ts";
import { Kv, KV_CORRUPTED, KV_INVALID, KV_VERSION_MISMATCH, KvError } from "../../ffi/kv.ts";
import { pathFromText } from "../depot_path.ts";
import { EnvironmentError } from "../errors.ts";
import { Manifest } from "./manifest.ts";
import { MIGRATIONS, type Settled, settleSchema } from "./migrations.ts";
import type { EvictPolicy } from "./rank.ts";

const RESET =
  "put a backup in its place with 'p4-cache restore-manifest', or delete the directory to " +
  "start with an empty manifest (every file in the depot is then compared with storage)";

/**
 * Address space for the data file, the most that the process may have; only what is used takes room on
 * disk, and it grows where it was less.
 */
const MAP_BYTES = [1024 ** 4, 64 * 1024 ** 3, 1024 ** 3];

/**
 * Whether the manifest could not be written because the disk is, or may be, full: LMDB says EIO of a write
 * for which there was room in part.
 */
export function isDiskFull(error: unknown): boolean {
  return error instanceof KvError && [ENOSPC, EDQUOT, EIO].includes(-error.code);
}

/**
 * Brings what another version of the program wrote to this one's schema; runs before
 * {@link openManifest}.
 * @returns Null where there was nothing to do.
 * @throws EnvironmentError when the state is too new, or cannot be read or written.
 */
export async function migrateManifest(
  dir: string,
  migrations = MIGRATIONS,
): Promise<Settled | null> {
  let kv: Kv | null = null;
  try {
    kv = openKv(dir);
    return await settleSchema(kv, dir, migrations);
  } catch (error) {
    throw asEnvironmentError(error);
  } finally {
    kv?.close();
  }
}

/**
 * Opens or creates the environment in an existing directory.
 * @param storageKey See {@link Manifest}, as of the other parameters.
 * @throws EnvironmentError naming the directory and what is wrong with the data.
 */
export function openManifest(
  dir: string,
  storageKey: (path: string) => string,
  onCommitError: (error: unknown) => void,
  policy: EvictPolicy = "lru",
): Manifest {
  try {
    return new Manifest(openKv(dir), storageKey, onCommitError, policy);
  } catch (error) {
    throw asEnvironmentError(error);
  }
}

function asEnvironmentError(error: unknown): unknown {
  return error instanceof KvError
    ? new EnvironmentError(`${error.message}${advice(error.code)}`)
    : error;
}

function openKv(dir: string): Kv {
  const path = pathFromText(dir);
  for (const mapBytes of MAP_BYTES.slice(0, -1)) {
    try {
      return new Kv(path, mapBytes);
    } catch (error) {
      if (!(error instanceof KvError) || error.code !== -ENOMEM) throw error;
    }
  }
  return new Kv(path, MAP_BYTES.at(-1)!);
}

function advice(code: number): string {
  switch (code) {
    case KV_VERSION_MISMATCH:
      return `; only LMDB data format 1 is allowed (what Debian's mdb_dump reads): ${RESET}`;
    case KV_CORRUPTED:
    case KV_INVALID:
      return `; the data file is damaged or cut short: ${RESET}`;
    default:
      return "";
  }
}
