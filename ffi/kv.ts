/**
 * Typed binding of `shim/helper/kv.h`, a durable key-value store (LMDB, data format 1), of
 * `lookup.h`, and of `compare.h`, which compares a walk with what is in it.
 *
 * @module
 */

import { ENOBUFS, ENOENT } from "./errno.ts";
import { FoundFiles } from "./found_files.ts";
import { type Bytes, cString, holding, openHelper, packPaths } from "./library.ts";
import { type Walk, type WalkRecord, walkRecords } from "./walk.ts";

const SYMBOLS = {
  p4kv_open: { parameters: ["buffer", "u64", "u32", "buffer"], result: "i32" },
  p4kv_reopen: { parameters: ["pointer", "u64"], result: "i32", nonblocking: true },
  p4kv_prepare: { parameters: ["pointer", "buffer", "u64"], result: "i32" },
  p4kv_database: { parameters: ["pointer", "buffer"], result: "i32" },
  p4kv_get: { parameters: ["pointer", "i32", "buffer", "u32", "buffer", "u32"], result: "i64" },
  p4kv_apply: {
    parameters: ["pointer", "buffer", "u64", "buffer"],
    result: "i32",
    nonblocking: true,
  },
  p4kv_sync: { parameters: ["pointer"], result: "i32", nonblocking: true },
  p4kv_scan: {
    parameters: ["pointer", "i32", "buffer", "u32", "u32", "buffer", "u64"],
    result: "i64",
    nonblocking: true,
  },
  p4kv_trim: { parameters: ["pointer", "i32"], result: "i32", nonblocking: true },
  p4kv_info: { parameters: ["pointer", "i32", "buffer"], result: "i32" },
  p4kv_copy: { parameters: ["pointer", "buffer", "u32"], result: "i32", nonblocking: true },
  p4kv_describe: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  p4compare_next: {
    parameters: [
      "pointer",
      "pointer",
      "i32",
      "i32",
      "i32",
      "i64",
      "i64",
      "buffer",
      "buffer",
      "u64",
      "buffer",
    ],
    result: "i64",
    nonblocking: true,
  },
  p4lookup_values: {
    parameters: ["pointer", "i32", "buffer", "u64", "buffer", "u64"],
    result: "i64",
  },
  p4lookup_holds: {
    parameters: ["pointer", "buffer", "u32", "buffer", "u64", "buffer", "u32"],
    result: "i32",
  },
  p4kv_close: { parameters: ["pointer"], result: "void" },
} as const;

/** A failed call; `code` is a negative errno or one of LMDB's own codes (below -30000). */
export class KvError extends Error {
  override readonly name = "KvError";
  constructor(readonly code: number, message: string) {
    super(message);
  }
}

/** LMDB's codes that callers tell apart (lmdb.h). */
export const KV_CORRUPTED = -30796, KV_VERSION_MISMATCH = -30794, KV_INVALID = -30793;
export const KV_PANIC = -30795, KV_MAP_FULL = -30792;

/** One entry of a scan; the arrays are views that stay valid. */
export interface KvEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** Size of a database and of its environment. */
export interface KvInfo {
  readonly entries: number;
  readonly lastTxn: bigint;
  readonly mapBytes: number;
  readonly usedBytes: number;
  /** Readers of processes that died, forgotten since it was opened. */
  readonly staleReaders: number;
}

/** One step of a walk, compared with the manifest. */
export interface WalkStep {
  /** Files that are as their rows say. */
  readonly known: number;
  /** New files, of which there is neither a row nor a tombstone, as far as that needs no second look. */
  readonly found: FoundFiles;
  /** Everything else. */
  readonly records: WalkRecord[];
  readonly isLast: boolean;
}

/** What is not believed of clean rows, see compare.h. */
export interface Doubt {
  /** Files of which anything changed since (ctime, ns) may not be as their rows say, … */
  readonly fromNs: bigint;
  /** … unless the row was begun at or after this, seconds since the epoch. */
  readonly untilSeconds: number;
}

/** No doubt: no time is after it. */
const NEVER = 0x7fff_ffff_ffff_ffffn;

/** How an environment is opened. */
export interface KvOptions {
  /** Never written to through this handle; several processes may read while one writes. */
  readonly readOnly?: boolean;
  /** A crash of the machine may undo what was written since the latest {@link Kv.sync}. */
  readonly relaxed?: boolean;
}

/** Size of a buffer for {@link Kv.scanInto}: some thousand entries. */
export const SCAN_BYTES = 256 * 1024;

/** Size of a buffer for a step of a walk: some thousand files, a few ms of work. */
const STEP_BYTES = 256 * 1024;

const READ_ONLY = 1, RELAXED = 2;
const COMPACT = 1;

/** Room for a value that is looked up with others; more is made where it does not do. */
const VALUE_BYTES = 160;

/** Length that stands for "no value" (lookup.h). */
const NO_VALUE = 0xffff_ffff;

/** An open environment. One owner; see kv.h. Each call throws {@link KvError}, which names the directory. */
export class Kv {
  readonly #library;
  readonly #handle: Deno.PointerObject;
  readonly #dir: string;
  #value: Bytes = new Uint8Array(4096);
  readonly #key: Bytes = new Uint8Array(2048);
  /** Of a scan that is over, for the next one: mostly little of it is filled, and it is much to clear. */
  #page: Bytes | null = null;

  /**
   * Opens or creates the environment in an existing directory.
   * @param dir Path, one character per byte.
   * @param mapBytes Upper bound of the data file's size; address space only until used. 0 for a
   *   reader: what the writer said.
   * @throws KvError naming the directory.
   */
  constructor(dir: string, mapBytes: number, options: KvOptions = {}) {
    this.#library = openHelper(SYMBOLS);
    this.#dir = dir;
    const out = new BigUint64Array(1);
    const rc = this.#library.symbols.p4kv_open(
      cString(dir),
      BigInt(mapBytes),
      (options.readOnly ? READ_ONLY : 0) | (options.relaxed ? RELAXED : 0),
      new Uint8Array(out.buffer),
    );
    if (rc !== 0) {
      const error = this.#error(rc, "open");
      this.#library.close();
      throw error;
    }
    this.#handle = Deno.UnsafePointer.create(out[0]!)!;
  }

  #error(code: number, doing: string): KvError {
    const text = new Uint8Array(200);
    const length = this.#library.symbols.p4kv_describe(code, text, text.length);
    const why = new TextDecoder().decode(text.subarray(0, length));
    return new KvError(code, `Cannot ${doing} the LMDB environment ${this.#dir}: ${why}`);
  }

  /** Closes the environment and opens it again with another size; see kv.h. */
  async reopen(mapBytes: number): Promise<void> {
    const rc = await this.#library.symbols.p4kv_reopen(this.#handle, BigInt(mapBytes));
    if (rc !== 0) throw this.#error(rc, "reopen");
  }

  /** Creates these databases where they are not there, in one transaction. */
  prepare(names: readonly string[]): void {
    const packed = cString(names.join("\0"));
    const { p4kv_prepare } = this.#library.symbols;
    const rc = p4kv_prepare(this.#handle, packed, BigInt(packed.length));
    if (rc !== 0) throw this.#error(rc, "create databases of");
  }

  /**
   * Opens or creates a named database ("" is the unnamed one); returns its number, the same for the same
   * name.
   */
  database(name: string): number {
    const number = this.#library.symbols.p4kv_database(this.#handle, cString(name));
    if (number < 0) throw this.#error(number, `open database '${name}' of`);
    return number;
  }

  /** Value of a key written as characters; a view valid until the next call, or null. */
  get(db: number, key: string): Uint8Array | null {
    for (let i = 0; i < key.length; i++) this.#key[i] = key.charCodeAt(i);
    const { p4kv_get } = this.#library.symbols;
    for (;;) {
      const value = this.#value;
      const length = Number(
        p4kv_get(this.#handle, db, this.#key, key.length, value, value.length),
      );
      if (length === -ENOENT) return null;
      if (length < 0) throw this.#error(length, "read");
      if (length <= value.length) return value.subarray(0, length);
      this.#value = new Uint8Array(length);
    }
  }

  /**
   * Applies the packed operations in one durable transaction; returns its number.
   * The caller keeps `batch` unchanged until then.
   */
  async apply(batch: Bytes): Promise<bigint> {
    const txnId = new BigUint64Array(1);
    const out = new Uint8Array(txnId.buffer);
    const { p4kv_apply } = this.#library.symbols;
    const call = p4kv_apply(this.#handle, batch, BigInt(batch.length), out);
    const rc = await holding(call, batch, out);
    if (rc !== 0) throw this.#error(rc, "write");
    return txnId[0]!;
  }

  /** Makes every write so far durable, where the environment was opened relaxed. */
  async sync(): Promise<void> {
    const rc = await this.#library.symbols.p4kv_sync(this.#handle);
    if (rc !== 0) throw this.#error(rc, "sync");
  }

  /**
   * Entries after `start` (from it, when inclusive), up to one buffer full; empty at the end.
   * @param roomBytes How much of a buffer of {@link SCAN_BYTES} is used.
   */
  async scan(
    db: number,
    start: Uint8Array,
    inclusive: boolean,
    roomBytes = SCAN_BYTES,
  ): Promise<KvEntry[]> {
    const page = this.#page ?? new Uint8Array(SCAN_BYTES);
    this.#page = null;
    const length = await this.scanInto(db, start, inclusive, page.subarray(0, roomBytes));
    const out = page.slice(0, length);
    this.#page = page;
    const view = new DataView(out.buffer);
    const entries: KvEntry[] = [];
    for (let at = 0; at < length;) {
      const keyEnd = at + 8 + view.getUint32(at, true);
      const end = keyEnd + view.getUint32(at + 4, true);
      entries.push({ key: out.subarray(at + 8, keyEnd), value: out.subarray(keyEnd, end) });
      at = end;
    }
    return entries;
  }

  /**
   * The same, packed into the caller's buffer: u32 key length, u32 value length (little endian), key,
   * value. One read transaction. Returns the bytes packed; 0 at the end.
   */
  async scanInto(db: number, start: Uint8Array, inclusive: boolean, out: Bytes): Promise<number> {
    const from = start.length > 0 ? new Uint8Array(start) : new Uint8Array(1);
    const call = this.#library.symbols.p4kv_scan(
      this.#handle,
      db,
      from,
      start.length,
      inclusive ? 1 : 0,
      out,
      BigInt(out.length),
    );
    const length = Number(await holding(call, from, out));
    if (length < 0) throw this.#error(length, "scan");
    return length;
  }

  /**
   * One step of a walk, without the files that are as their committed rows say, in the order of paths.
   * @param files The database of rows; `versions` that of their versions, `tombstones` that of deleted paths.
   */
  async compareNext(
    walk: Walk,
    files: number,
    versions: number,
    tombstones: number,
    doubt: Doubt | null,
  ): Promise<WalkStep> {
    const out = new Uint8Array(STEP_BYTES), found = new Uint8Array(STEP_BYTES);
    const counts = new BigUint64Array(3);
    const call = this.#library.symbols.p4compare_next(
      walk.handle as Deno.PointerObject,
      this.#handle,
      files,
      versions,
      tombstones,
      doubt?.fromNs ?? NEVER,
      BigInt(doubt?.untilSeconds ?? 0),
      out,
      found,
      BigInt(out.length),
      new Uint8Array(counts.buffer),
    );
    const length = Number(await holding(call, out, found, counts));
    if (length < 0) throw this.#error(length, "compare the depot with");
    return {
      known: Number(counts[0]),
      records: walkRecords(out, length),
      found: new FoundFiles(found.subarray(0, Number(counts[2]))),
      isLast: counts[1] === 1n,
    };
  }

  /** For each path whether one of the databases has it as a key. */
  holds(databases: readonly number[], paths: readonly string[]): boolean[] {
    const packed = packPaths(paths);
    const out = new Uint8Array(paths.length);
    const rc = this.#library.symbols.p4lookup_holds(
      this.#handle,
      Uint8Array.from(databases),
      databases.length,
      packed,
      BigInt(packed.length),
      out,
      out.length,
    );
    if (rc < 0) throw this.#error(rc, "read");
    return Array.from(out, (held) => held === 1);
  }

  /** The value of each key, null where there is none; views that stay valid. */
  values(db: number, keys: readonly string[]): (Uint8Array | null)[] {
    const packed = packPaths(keys);
    const { p4lookup_values } = this.#library.symbols;
    for (let room = keys.length * VALUE_BYTES + 4096;; room *= 4) {
      const out = new Uint8Array(room), length = BigInt(packed.length);
      const rc = Number(p4lookup_values(this.#handle, db, packed, length, out, BigInt(room)));
      if (rc === -ENOBUFS) continue;
      if (rc < 0) throw this.#error(rc, "read");
      const view = new DataView(out.buffer);
      let at = 0;
      return keys.map(() => {
        const size = view.getUint32(at, true), begin = at + 4;
        if (size === NO_VALUE) return at = begin, null;
        at = begin + size;
        return out.subarray(begin, at);
      });
    }
  }

  /** Takes what was read out of this process's memory: for walks over a whole database. */
  async trim(db: number): Promise<void> {
    const rc = await this.#library.symbols.p4kv_trim(this.#handle, db);
    if (rc !== 0) throw this.#error(rc, "trim");
  }

  /** Size of a database and of the environment. */
  info(db: number): KvInfo {
    const words = new BigUint64Array(5);
    const rc = this.#library.symbols.p4kv_info(this.#handle, db, new Uint8Array(words.buffer));
    if (rc !== 0) throw this.#error(rc, "inspect");
    return {
      entries: Number(words[0]),
      lastTxn: words[1]!,
      mapBytes: Number(words[2]),
      usedBytes: Number(words[3]),
      staleReaders: Number(words[4]),
    };
  }

  /**
   * Writes a copy of the environment as it is now to a new file; reads and writes go on meanwhile.
   * @param path One character per byte; must not exist.
   * @param isCompact Without unused pages: smaller, and slower. Transactions count from 1 again.
   */
  async copyTo(path: string, isCompact: boolean): Promise<void> {
    const name = cString(path);
    const { p4kv_copy } = this.#library.symbols;
    const rc = await holding(p4kv_copy(this.#handle, name, isCompact ? COMPACT : 0), name);
    if (rc !== 0) throw this.#error(rc, `write ${path} as a copy of`);
  }

  /** Closes the environment. No call is running. */
  close(): void {
    this.#library.symbols.p4kv_close(this.#handle);
    this.#library.close();
  }
}
