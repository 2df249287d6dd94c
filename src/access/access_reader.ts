/**
 * Reads an access log, whether or not a daemon is writing to it: page by page, each page one short read
 * transaction, so that a long query neither holds old pages of the database nor needs memory.
 *
 * @module
 */

import { EACCES, ENOENT } from "../../ffi/errno.ts";
import { type Bytes } from "../../ffi/library.ts";
import { Kv, KvError, SCAN_BYTES } from "../../ffi/kv.ts";
import { MAX_PATH_BYTES, pathFromText } from "../depot_path.ts";
import { EnvironmentError } from "../errors.ts";

/** One entry. The path is valid until the next page is asked for. */
export interface AccessRow {
  readonly path: Uint8Array;
  /** Last access, seconds since the epoch. */
  readonly seconds: number;
}

/** Pages after which what was read is let go: 16 MiB. */
const TRIM_PAGES = 64;

/** See the module's description. */
export class AccessReader {
  readonly #kv: Kv;
  readonly #db: number;

  /**
   * Opens the log in a directory.
   * @throws EnvironmentError when there is none, or it cannot be read.
   */
  constructor(dir: string) {
    try {
      this.#kv = new Kv(pathFromText(dir), 0, { readOnly: true });
    } catch (error) {
      if (!(error instanceof KvError)) throw error;
      throw new EnvironmentError(`${error.message}; ${advice(error.code)}`);
    }
    this.#db = this.#kv.database("");
  }

  /** Entries, bytes in use, and bytes that the database may grow to. No entry is read. */
  info(): { entries: number; usedBytes: number; mapBytes: number } {
    const { entries, usedBytes, mapBytes } = this.#kv.info(this.#db);
    return { entries, usedBytes, mapBytes };
  }

  /** Last access of a path (one character per byte), seconds since the epoch; null: no entry. */
  get(path: string): number | null {
    if (path.length === 0 || path.length > MAX_PATH_BYTES) return null;
    const value = this.#kv.get(this.#db, path);
    return value === null ? null : secondsOf(value, 0, value.length);
  }

  /** Every entry whose path begins with the prefix, in the order of the paths' bytes, by pages. */
  async *pages(prefix: Uint8Array): AsyncGenerator<Iterable<AccessRow>> {
    const page: Bytes = new Uint8Array(SCAN_BYTES);
    let start = prefix;
    for (let pages = 0;; pages++) {
      const length = await this.#kv.scanInto(this.#db, start, pages === 0, page);
      if (length === 0) return;
      const last: { path: Uint8Array } = { path: start };
      yield rowsOf(page.subarray(0, length), prefix, last);
      if (!startsWith(last.path, prefix)) return;
      start = last.path.slice();
      if (pages % TRIM_PAGES === 0) await this.#kv.trim(this.#db);
    }
  }

  close(): void {
    this.#kv.close();
  }
}

/** Unpacks a page up to the end of the prefix; `last` receives the page's last path. */
function* rowsOf(
  page: Bytes,
  prefix: Uint8Array,
  last: { path: Uint8Array },
): Generator<AccessRow> {
  const view = new DataView(page.buffer, 0, page.length);
  for (let at = 0; at < page.length;) {
    const keyEnd = at + 8 + view.getUint32(at, true);
    const end = keyEnd + view.getUint32(at + 4, true);
    const path = page.subarray(at + 8, keyEnd);
    last.path = path;
    if (!startsWith(path, prefix)) return;
    yield { path, seconds: secondsOf(page, keyEnd, end) };
    at = end;
  }
}

/** A value that is not 8 bytes is no time of ours or of the C++ implementation: the epoch. */
function secondsOf(bytes: Uint8Array, start: number, end: number): number {
  if (end - start !== 8) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset + start, 8);
  return view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
}

function startsWith(path: Uint8Array, prefix: Uint8Array): boolean {
  if (path.length < prefix.length) return false;
  for (let i = 0; i < prefix.length; i++) if (path[i] !== prefix[i]) return false;
  return true;
}

function advice(code: number): string {
  switch (code) {
    case -ENOENT:
      return "name the access log's directory with --db, usually <depot>/.p4cache/access";
    case -EACCES:
      return "run it as the daemon's user or as root: a reader makes itself known in lock.mdb";
    default:
      return "allowed is the directory of an access log, LMDB data format 1";
  }
}
