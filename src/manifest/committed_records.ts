/**
 * Records as they are committed, read ahead where that is asked for.
 *
 * @module
 */

import type { Kv } from "../../ffi/kv.ts";
import { CLEAN, decodeRow, decodeVersion } from "./schema.ts";
import type { FileRecord } from "./transitions.ts";

/** See the module. Whoever changes a record says so: {@link changed}. */
export class CommittedRecords {
  readonly #kv: Pick<Kv, "get" | "values">;
  readonly #files: number;
  readonly #versions: number;
  /** What {@link preload} read and did not change since. */
  #loaded = new Map<string, FileRecord | null>();
  /** A change reads its path's record several times in a row. */
  #last: { readonly path: string; readonly record: FileRecord | null } | null = null;

  /** @param files Number of the database of rows. @param versions And of what is stored of each. */
  constructor(kv: Pick<Kv, "get" | "values">, files: number, versions: number) {
    this.#kv = kv;
    this.#files = files;
    this.#versions = versions;
  }

  /** The record of a path, or null when there is none. */
  get(path: string): FileRecord | null {
    const loaded = this.#loaded.get(path);
    if (loaded !== undefined) return loaded;
    if (this.#last?.path !== path) this.#last = { path, record: this.#read(path) };
    return this.#last.record;
  }

  /** Reads these records in one go; {@link get} has them at hand until the next call. */
  preload(paths: readonly string[]): void {
    const rows = this.#kv.values(this.#files, paths);
    const versions = this.#kv.values(this.#versions, paths);
    this.#loaded = new Map(paths.map((path, i) => [path, recordOf(rows[i]!, versions[i]!)]));
  }

  /** The record is about to be another one. */
  changed(path: string): void {
    this.#loaded.delete(path);
    this.#last = null;
  }

  /** Any record may be about to be another one. */
  allChanged(): void {
    this.#loaded = new Map();
    this.#last = null;
  }

  #read(path: string): FileRecord | null {
    const bytes = this.#kv.get(this.#files, path);
    if (bytes === null) return null;
    const row = decodeRow(bytes);
    if (row.state !== CLEAN) return { row, version: null };
    const version = this.#kv.get(this.#versions, path);
    return { row, version: version === null ? null : decodeVersion(version) };
  }
}

function recordOf(row: Uint8Array | null, version: Uint8Array | null): FileRecord | null {
  if (row === null) return null;
  const decoded = decodeRow(row);
  const isVerified = decoded.state === CLEAN && version !== null;
  return { row: decoded, version: isVerified ? decodeVersion(version) : null };
}
