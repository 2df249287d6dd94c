/**
 * Paths with a storage request whose outcome nobody knows: an upload or removal that timed out may still
 * take effect, minutes later, over a newer object.
 *
 * Such a path is noted, durably, before its file can be clean. A noted file is not evicted; when no late
 * request can come any more, its object is looked at: still the version that was acknowledged → the note
 * goes; anything else → the file is uploaded again. So the only copy of a file is never left to an object
 * that a late request replaced (P1).
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { CLEAN, type Version } from "../manifest/schema.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import { type Backend, nullIfAbsent, type ObjectInfo } from "../storage/backend.ts";
import { type DepotPath, displayPath } from "../depot_path.ts";

/** Longest time after which a request that was given up can take effect, s. */
export const SETTLE_SECONDS = 600;

/** The manifest's database of notes. */
const TABLE = "unsettled";

/** Time between two looks for notes that are due, ms. */
const LOOK_MS = 30_000;

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

/** Parts it works on. */
export interface UnsettledParts {
  readonly manifest: Manifest;
  readonly backend: Backend;
  readonly log: Logger;
  readonly nowSeconds: () => number;
  readonly settleSeconds: number;
  /** The object is not the file's: uploads the file again. */
  readonly onLost: (path: DepotPath, size: number) => void;
}

/** See the module's description. */
export class Unsettled {
  readonly #parts: UnsettledParts;
  readonly #table: Table;
  readonly #abort = new AbortController();
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  /** Whether there may be notes: without any, looking costs nothing. */
  #any: boolean;
  /** Notes made so far: tells whether one came during a look. */
  #made = 0;
  #timer: number | null = null;
  #looking: Promise<void> | null = null;

  constructor(parts: UnsettledParts) {
    this.#parts = parts;
    this.#table = parts.manifest.table(TABLE);
    this.#any = this.#table.size() > 0;
  }

  /** Looks for notes that are due, now and then. */
  start(): void {
    this.#timer = setInterval(() => {
      this.#looking ??= this.settleDue().finally(() => this.#looking = null);
    }, LOOK_MS);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#abort.abort();
    await this.#looking;
  }

  /** A request for the path's object ended, and nobody knows how. */
  note(path: string): void {
    this.#table.set(path, encodeTime(this.#parts.nowSeconds()));
    this.#any = true;
    this.#made++;
  }

  has(path: string): boolean {
    return this.#any && this.#table.get(path) !== null;
  }

  /** Looks at the objects of all notes that are due. Never throws. */
  async settleDue(): Promise<void> {
    if (!this.#any) return;
    const { manifest, nowSeconds, settleSeconds, log } = this.#parts;
    try {
      await manifest.commit();
      const made = this.#made;
      let found = false;
      for (let after = "";;) {
        const page = await this.#table.after(after);
        if (page.length === 0) {
          // Only now: until the end of the look, evictions must find the notes.
          if (!found && this.#made === made) this.#any = false;
          return;
        }
        found = true;
        for (const { key, value } of page) {
          if (this.#abort.signal.aborted) return;
          const noted = Number(new DataView(value.slice().buffer).getBigUint64(0));
          if (nowSeconds() - noted >= settleSeconds) await this.#settle(key as DepotPath);
        }
        after = page.at(-1)!.key;
      }
    } catch (error) {
      if (this.#abort.signal.aborted) return;
      const line = this.#limited("Cannot look at objects with requests of unknown outcome");
      if (line !== null) log.warning(`${line}: ${describeError(error)}`);
    }
  }

  async #settle(path: DepotPath): Promise<void> {
    const { backend, manifest, log, onLost } = this.#parts;
    const record = manifest.get(path);
    // Gone: nothing relies on the object. Dirty: it is looked at after the upload.
    if (record === null) return this.#table.set(path, null);
    if (record.row.state !== CLEAN || record.version === null) return;
    const info = await nullIfAbsent(backend.head(path, this.#abort.signal));
    if (manifest.get(path)?.version?.etag !== record.version.etag) return;
    if (info !== null && isObjectOf(record.version, info)) return this.#table.set(path, null);
    log.warning(
      `The object of ${displayPath(path)} was changed by a request that had been given up; ` +
        `the file is uploaded again`,
    );
    onLost(path, record.row.size);
  }
}

/**
 * After a crash: each file that was dirty may have had an upload on its way that takes effect over the
 * next one. Durable when it resolves; nothing is uploaded before.
 */
export async function noteCutOff(manifest: Manifest, nowSeconds: number): Promise<void> {
  const table = manifest.table(TABLE);
  for (let after = "";;) {
    const page = await manifest.dirtyAfter(after);
    if (page.length === 0) break;
    for (const { path } of page) table.set(path, encodeTime(nowSeconds));
    await manifest.commit();
    after = page.at(-1)!.key;
  }
}

function encodeTime(seconds: number): Uint8Array {
  const value = new Uint8Array(8);
  new DataView(value.buffer).setBigUint64(0, BigInt(seconds));
  return value;
}

/** Whether the object holds the version, as far as the backend can tell. */
function isObjectOf(version: Version, info: ObjectInfo): boolean {
  if (info.size !== version.size) return false;
  // The same bytes with a mode or time from before a chmod(2) or touch(1) are another version.
  if (info.mode !== null && info.mode !== version.mode) return false;
  if (info.mtimeNs !== null && info.mtimeNs !== version.mtimeNs) return false;
  if (info.digest !== null && version.digest !== "") return info.digest === version.digest;
  return info.etag !== "" && info.etag === version.etag;
}
