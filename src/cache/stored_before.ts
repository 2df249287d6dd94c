/**
 * Spares the upload of files that storage has already, where the manifest does not know: a depot that was
 * copied or kept without its state directory, a manifest from a backup, or the state of the C++
 * implementation, which keeps no versions; and where it is not believed (`unseen_changes.ts`).
 *
 * The manifest remembers when it was made, or when another program wrote to it last. A file that was
 * changed before (its ctime, which no program can set back) is compared with its object before it is sent:
 * its digest, or the provider's MD5 where the object has no digest, and what is stored with it must be the
 * file's. What cannot be proven is uploaded. Files that changed later cost no question.
 *
 * An object that is found to be the version counts as one that was stored just now: the file is clean only
 * if no event came for its path since it was opened (`version_upload.ts`), and when a request for it may
 * still be under way, that is noted and looked after (`unsettled.ts`).
 *
 * @module
 */

import { createHash } from "node:crypto";
import type { Manifest } from "../manifest/manifest.ts";
import { RestoredMark } from "../manifest/restored_mark.ts";
import { type Backend, nullIfAbsent, type ObjectInfo, SLICE_BYTES } from "../storage/backend.ts";
import type { DepotPath } from "../depot_path.ts";
import type { LocalContent } from "./upload_content.ts";

/** The manifest's database, and the key in it. */
const TABLE = "meta", SINCE_KEY = "known_since";

/**
 * At start: notes the time when the manifest is new, comes from a backup, or another program wrote to it.
 * @param nowNs Since the epoch.
 */
export async function noteUnknownPast(manifest: Manifest, nowNs: bigint): Promise<void> {
  const table = manifest.table(TABLE);
  const isFromBackup = new RestoredMark(manifest).sinceSeconds !== null;
  if (table.get(SINCE_KEY) !== null && !manifest.needsRecount && !isFromBackup) return;
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigInt64(0, nowNs);
  table.set(SINCE_KEY, value);
  await manifest.commit();
}

/** Paths that are remembered to be asked for; with more, every file of before now is (P5). */
const MAX_DOUBTFUL = 10_000;

/** See the module. */
export class StoredBefore {
  /** Files changed before may be stored already, ns since the epoch. */
  #sinceNs: bigint;
  readonly #doubtful = new Set<DepotPath>();
  /** Whether storage has any objects: a new one has nothing to compare with. */
  #hasObjects: Promise<boolean> | null = null;

  constructor(manifest: Manifest) {
    const value = manifest.table(TABLE).get(SINCE_KEY);
    this.#sinceNs = value === null ? 0n : new DataView(value.slice().buffer).getBigInt64(0);
  }

  /** The next upload of the path asks first: its file looks like the version that was stored. */
  doubt(path: DepotPath): void {
    if (this.#doubtful.size < MAX_DOUBTFUL) this.#doubtful.add(path);
    else this.#sinceNs = BigInt(Date.now()) * 1_000_000n;
  }

  /**
   * The tag of the object where it certainly is this version of the file, else null.
   * @throws StorageError when storage does not say; Error when the file changes meanwhile.
   */
  async find(
    path: DepotPath,
    content: LocalContent,
    backend: Backend,
    signal: AbortSignal,
  ): Promise<string | null> {
    const isDoubtful = this.#doubtful.has(path);
    if (content.ctimeNs >= this.#sinceNs && !isDoubtful) return null;
    if (!isDoubtful && !await this.#anyObjects(backend, signal)) return null;
    const object = await nullIfAbsent(backend.head(path, signal));
    this.#doubtful.delete(path);
    return object !== null && await isVersion(object, content) ? object.etag : null;
  }

  #anyObjects(backend: Backend, signal: AbortSignal): Promise<boolean> {
    this.#hasObjects ??= hasObjects(backend, signal).catch((error) => {
      this.#hasObjects = null;
      throw error;
    });
    return this.#hasObjects;
  }
}

async function isVersion(object: ObjectInfo, content: LocalContent): Promise<boolean> {
  if (object.size !== content.size || object.etag === "") return false;
  // The C++ implementation stores neither: such a file gets its default mode when it is restored.
  if (object.mode !== null && object.mode !== content.mode) return false;
  if (object.mtimeNs !== null && object.mtimeNs !== content.mtimeNs) return false;
  if (object.digest !== null) return object.digest === content.digest;
  return object.md5 !== undefined && object.md5 === await md5Of(content);
}

async function md5Of(content: LocalContent): Promise<string> {
  const hash = createHash("md5");
  for (let at = 0; at < content.size; at += SLICE_BYTES) {
    hash.update(await content.read(at, Math.min(SLICE_BYTES, content.size - at)));
  }
  return hash.digest("base64");
}

async function hasObjects(backend: Backend, signal: AbortSignal): Promise<boolean> {
  for await (const _ of backend.list("", signal)) return true;
  return false;
}
