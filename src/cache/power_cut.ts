/**
 * What a power cut may have left: files whose names and times were on the platter, and their bytes not
 * (P1, P2).
 *
 * A file that is only here is the truth, as on any disk. But one that the bucket has in a version as new
 * must not be trusted, and above all not be uploaded over it: it may be empty, a part, or an older
 * version. So after a boot that no clean stop preceded
 *
 * - the files that were noted as unsynced (`src/manifest/unsynced.ts`), or marked as about to be restored
 *   (`restore_marks.ts`), are compared with the digest that is in the manifest, the note or the mark, before
 *   anybody is served;
 * - no file that was last changed before that boot is uploaded before a look at its object: when that is
 *   newer, or as old and different, the object counts.
 *
 * What does not count is kept in the conflicts directory, and the next open restores the file.
 *
 * @module
 */

import { FileError } from "../../ffi/file_error.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import { counted } from "../counted.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { UnsyncedNote } from "../manifest/unsynced.ts";
import { type Backend, nullIfAbsent } from "../storage/backend.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";
import { conflictName, CONFLICTS_DIR } from "./trash.ts";
import { FileBeingWritten, FileChanged, type LocalContent, openContent } from "./upload_content.ts";

/** A run of the machine. */
export interface Boot {
  readonly id: string;
  /** When it began, ns since the epoch. */
  readonly atNs: bigint;
}

/** The manifest's database of these two. */
const TABLE = "boot", ID_KEY = "id", CUT_KEY = "cut";

/** The machine's boot now (proc(5): random/boot_id, and btime of stat, in seconds). */
export function currentBoot(): Boot {
  const id = Deno.readTextFileSync("/proc/sys/kernel/random/boot_id").trim();
  const seconds = /^btime (\d+)$/m.exec(Deno.readTextFileSync("/proc/stat"))?.[1] ?? "0";
  return { id, atNs: BigInt(seconds) * 1_000_000_000n };
}

/** Parts it works on. */
export interface PowerCutParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly log: Logger;
}

/** See the module's description. */
export class PowerCut {
  readonly #parts: PowerCutParts;
  /** The boot after the latest cut, ns since the epoch; 0: there was none. */
  #bootNs: bigint;
  #kept = 0;

  constructor(parts: PowerCutParts) {
    this.#parts = parts;
    this.#bootNs = decodeTime(parts.manifest.table(TABLE).get(CUT_KEY));
  }

  /**
   * At start: finds out whether there was a cut, and looks at what was not synced then.
   * @param marked Files that have a mark.
   */
  async settle(boot: Boot, marked: readonly UnsyncedNote[] = []): Promise<void> {
    const { manifest } = this.#parts;
    const table = manifest.table(TABLE);
    const last = table.get(ID_KEY);
    const id = new TextEncoder().encode(boot.id);
    if (last !== null && new TextDecoder().decode(last) === boot.id) return;
    // A manifest that is new knows nothing of what was before; marks do.
    if (last === null ? marked.length > 0 : manifest.wasCutOff) {
      this.#bootNs = boot.atNs;
      table.set(CUT_KEY, encodeTime(boot.atNs));
      await manifest.commit();
      await this.#verifyUnsynced(marked);
    }
    // Only now: a start that is cut off too must look again.
    table.set(ID_KEY, id);
    await manifest.commit();
  }

  /** Whether the object is the better version of a file that is to be uploaded; the file is away then. */
  async isOutdated(
    path: DepotPath,
    content: LocalContent,
    backend: Backend,
    signal: AbortSignal,
  ): Promise<boolean> {
    if (content.ctimeNs >= this.#bootNs) return false;
    const object = await nullIfAbsent(backend.head(path, signal));
    if (object === null || object.mtimeNs === null) return false;
    const isOlder = content.mtimeNs < object.mtimeNs;
    const isTorn = content.mtimeNs === object.mtimeNs && object.digest !== null &&
      object.digest !== content.digest;
    return (isOlder || isTorn) && this.#setAside(path, content);
  }

  async #verifyUnsynced(marked: readonly UnsyncedNote[]): Promise<void> {
    const { manifest, log } = this.#parts;
    let looked = 0, away = 0;
    const verify = async (note: UnsyncedNote) => {
      looked++;
      if (await this.#verify(note)) away++;
    };
    for await (const note of manifest.unsynced.notes()) await verify(note);
    for (const note of marked) await verify(note);
    log.warning(
      `The machine stopped while a daemon ran: of ${
        counted(looked, "file")
      } that may not have reached the disk, ` +
        `${away} had not, and are restored when they are opened`,
    );
  }

  /** Whether the file was none of the versions that may be here, and is away. */
  async #verify(note: UnsyncedNote): Promise<boolean> {
    const { files, manifest } = this.#parts;
    const path = note.path as DepotPath;
    const versions = [manifest.get(path)?.version ?? null, note.version]
      .filter((version) => version !== null && version.digest !== "");
    if (versions.length === 0) return false;
    let content: LocalContent | null = null;
    try {
      content = await openContent(files, path);
      const { ctimeNs, mtimeNs, digest } = content;
      if (versions.some((version) => version!.digest === digest)) return false;
      // Written since, by somebody who was faster: his version counts.
      const isNewer = ctimeNs >= this.#bootNs ||
        versions.every((version) => mtimeNs > version!.mtimeNs);
      return !isNewer && this.#setAside(path, content);
    } catch (error) {
      const isExpected = error instanceof FileError || error instanceof FileChanged ||
        error instanceof FileBeingWritten;
      if (isExpected) return false; // gone, or somebody's: the scan looks at it
      throw error;
    } finally {
      content?.close?.();
    }
  }

  #setAside(path: DepotPath, content: LocalContent): boolean {
    const { files, manifest, log } = this.#parts;
    const now = files.stat(path);
    if (now === null || now.ctimeNs !== content.ctimeNs) return false;
    let kept: string;
    do kept = conflictName(`cut${this.#bootNs / 1_000_000_000n}.${this.#kept++}`, path); while (
      !files.rename(path, `${CONFLICTS_DIR}/${kept}`)
    );
    manifest.set(path, null);
    log.warning(
      `${
        displayPath(path)
      } is not the version that was stored before the machine stopped; that one ` +
        `counts, and this one is kept as ${CONFLICTS_DIR}/${displayPath(kept)}`,
    );
    return true;
  }
}

function encodeTime(ns: bigint): Uint8Array {
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigInt64(0, ns);
  return value;
}

function decodeTime(value: Uint8Array | null): bigint {
  return value === null ? 0n : new DataView(value.slice().buffer).getBigInt64(0);
}
