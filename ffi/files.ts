/**
 * Typed binding of `shim/helper/files.h` and `many.h`: depot files beneath the depot's directory. What the engine
 * does to a depot goes through {@link DepotFiles}; the simulation puts a world in memory in its place.
 *
 * @module
 */

import type { DepotPath } from "../src/cache/depot_path.ts";
import { EvictionBatch, type EvictionCandidate } from "./evict.ts";
import { FileError } from "./file_error.ts";
import { type Bytes, cString, holding, openHelper, packPaths } from "./library.ts";
import { DepotWalk, type Walk } from "./walk.ts";

const SYMBOLS = {
  p4many_stat: {
    parameters: ["i32", "buffer", "u64", "buffer", "u32"],
    result: "i32",
    nonblocking: true,
  },
  p4many_sizes: { parameters: ["i32", "buffer", "u64", "buffer", "u32"], result: "i32" },
  p4many_read: {
    parameters: ["i32", "buffer", "u64", "u64", "buffer", "u64", "buffer", "u32"],
    result: "i32",
    nonblocking: true,
  },
  p4files_init: { parameters: [], result: "void" },
  p4files_open_root: { parameters: ["buffer"], result: "i32" },
  p4files_close: { parameters: ["i32"], result: "i32" },
  p4files_lock: { parameters: ["buffer"], result: "i32" },
  p4files_stat: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  p4files_open: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  p4files_pread: {
    parameters: ["i32", "buffer", "u64", "i64"],
    result: "i64",
    nonblocking: true,
  },
  p4files_fstat: { parameters: ["i32", "buffer"], result: "i32" },
  p4files_being_written: { parameters: ["i32"], result: "i32" },
  p4files_create_nameless: { parameters: ["i32", "buffer"], result: "i32" },
  p4files_pwrite: {
    parameters: ["i32", "buffer", "u64", "i64"],
    result: "i32",
    nonblocking: true,
  },
  p4files_open_parent: { parameters: ["i32", "buffer"], result: "i32" },
  p4files_place: { parameters: ["i32", "buffer", "i32", "u32", "i64", "buffer"], result: "i32" },
  p4files_place_small: {
    parameters: ["i32", "buffer", "buffer", "u64", "u32", "i64", "buffer"],
    result: "i32",
  },
  p4files_make_dir: { parameters: ["i32", "buffer"], result: "i32" },
  p4files_rename: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  p4files_exchange: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  p4files_unlink: { parameters: ["i32", "buffer"], result: "i32" },
  p4files_identity: { parameters: ["i32", "buffer", "buffer", "u32"], result: "i32" },
  p4files_sync: { parameters: ["i32"], result: "i32", nonblocking: true },
  p4files_statfs: { parameters: ["i32", "buffer"], result: "i32" },
} as const;

/** errno numbers callers tell apart (errno-base.h). */
export const ENOENT = 2, EAGAIN = 11, EEXIST = 17, EINVAL = 22, ENOSPC = 28, ELOOP = 40;
export const EDQUOT = 122;

/** What a file is. */
export interface FileStat {
  readonly size: number;
  readonly mtimeNs: bigint;
  /** When anything of the file changed last: no program can set it. */
  readonly ctimeNs: bigint;
  /** Type and permission bits (stat(2) st_mode). */
  readonly mode: number;
  readonly nlink: number;
}

const S_IFMT = 0o170000, S_IFREG = 0o100000;

/** Whether the mode is a regular file's. */
export function isRegular(stat: FileStat): boolean {
  return (stat.mode & S_IFMT) === S_IFREG;
}

/** Filesystem id, and the largest file handle with its type. */
const IDENTITY_BYTES = 8 + 4 + 128;

const STAT_BYTES = 40;
const READ_BYTES = 16 + STAT_BYTES;

function statAt(view: DataView, at: number): FileStat {
  return {
    size: Number(view.getBigInt64(at, true)),
    mtimeNs: view.getBigInt64(at + 8, true),
    mode: view.getUint32(at + 16, true),
    nlink: view.getUint32(at + 20, true),
    ctimeNs: view.getBigInt64(at + 32, true),
  };
}

/** How reading one small file went. */
export type SmallRead =
  | { readonly kind: "whole"; readonly stat: FileStat; readonly bytes: Bytes }
  /** Too large for this way of reading. */
  | { readonly kind: "large"; readonly stat: FileStat }
  /** Some process has it open for writing; a write event will follow its close. */
  | { readonly kind: "beingWritten" }
  /** It changed while it was read. */
  | { readonly kind: "changed" }
  | { readonly kind: "failed"; readonly errno: number };

/** The files of one depot. Paths are one character per byte, relative to the depot. */
export class DepotFiles {
  readonly #library = openHelper(SYMBOLS);
  readonly #calls = this.#library.symbols;
  readonly #stat: Bytes = new Uint8Array(STAT_BYTES);
  readonly #statView = new DataView(this.#stat.buffer);
  /** Descriptor of the depot's directory, for the other bindings. */
  readonly root: number;

  /** @throws FileError when the directory cannot be opened. */
  constructor(readonly dir: string) {
    this.#calls.p4files_init();
    this.root = this.#calls.p4files_open_root(cString(dir));
    if (this.root < 0) throw new FileError(-this.root, "open the depot", dir);
  }

  /** Locks `path` (absolute) for this process; false when another process holds it. */
  lock(path: string): boolean {
    const fd = this.#calls.p4files_lock(cString(path));
    if (fd === -EAGAIN) return false;
    if (fd < 0) throw new FileError(-fd, "lock", path);
    return true;
  }

  /** What is at the path (a symbolic link is itself), or null when nothing is. */
  stat(path: string): FileStat | null {
    const rc = this.#calls.p4files_stat(this.root, cString(path), this.#stat);
    if (rc === -ENOENT) return null;
    if (rc < 0) throw new FileError(-rc, "stat", path);
    return statAt(this.#statView, 0);
  }

  /** For each path its state, or null where it names no regular file, or the errno of a failure. */
  async statMany(paths: readonly string[]): Promise<(FileStat | null | number)[]> {
    const packed = packPaths(paths);
    const out = new Uint8Array(paths.length * STAT_BYTES);
    const call = this.#calls.p4many_stat(
      this.root,
      packed,
      BigInt(packed.length),
      out,
      paths.length,
    );
    const rc = await holding(call, packed, out);
    if (rc < 0) throw new FileError(-rc, "stat files of", this.dir);
    const view = new DataView(out.buffer);
    return paths.map((_, i) => {
      const stat = statAt(view, i * STAT_BYTES);
      if (stat.nlink > 0) return stat;
      return stat.size === 0 || stat.size === -ENOENT ? null : -stat.size;
    });
  }

  /** The size of each file as it is now; negative where the path names no regular file. */
  sizesNow(paths: readonly string[]): number[] {
    const packed = packPaths(paths);
    const out = new BigInt64Array(Math.max(1, paths.length));
    const rc = this.#calls.p4many_sizes(
      this.root,
      packed,
      BigInt(packed.length),
      new Uint8Array(out.buffer),
      paths.length,
    );
    if (rc < 0) throw new FileError(-rc, "stat files of", this.dir);
    return paths.map((_, i) => Number(out[i]));
  }

  /** Opens a regular file for reading. @throws FileError */
  open(path: string): { fd: number; stat: FileStat } {
    const fd = this.#calls.p4files_open(this.root, cString(path), this.#stat);
    if (fd < 0) throw new FileError(-fd, "open", path);
    return { fd, stat: statAt(this.#statView, 0) };
  }

  /**
   * Reads up to `length` bytes at `offset`; fewer only at the end of the file.
   * @param room Memory for them, of at least `length` bytes; new unless given.
   */
  async read(
    fd: number,
    path: string,
    offset: number,
    length: number,
    room: Bytes = new Uint8Array(length),
  ): Promise<Bytes> {
    const out = room.length === length ? room : room.subarray(0, length);
    const call = this.#calls.p4files_pread(fd, out, BigInt(length), BigInt(offset));
    const n = Number(await holding(call, out));
    if (n < 0) throw new FileError(-n, "read", path);
    return n === length ? out : out.subarray(0, n);
  }

  /** What an open file is now. */
  statOpen(fd: number, path: string): FileStat {
    const rc = this.#calls.p4files_fstat(fd, this.#stat);
    if (rc < 0) throw new FileError(-rc, "stat", path);
    return statAt(this.#statView, 0);
  }

  /** Whether some process has the open file open for writing. */
  isBeingWritten(fd: number): boolean {
    return this.#calls.p4files_being_written(fd) === 1;
  }

  /**
   * Reads small files whole, in one call off the event loop.
   * @param maxBytes Larger files come back as "large".
   * @param roomBytes Memory for all contents; files that find no room come back as "large".
   */
  async readMany(
    paths: readonly string[],
    maxBytes: number,
    roomBytes: number,
  ): Promise<SmallRead[]> {
    const packed = packPaths(paths);
    const out = new Uint8Array(Math.max(1, roomBytes));
    const results = new Uint8Array(paths.length * READ_BYTES);
    const call = this.#calls.p4many_read(
      this.root,
      packed,
      BigInt(packed.length),
      BigInt(maxBytes),
      out,
      BigInt(roomBytes),
      results,
      paths.length,
    );
    const rc = await holding(call, packed, out, results);
    if (rc < 0) throw new FileError(-rc, "read files of", this.dir);
    const view = new DataView(results.buffer);
    return paths.map((_, i): SmallRead => {
      const at = i * READ_BYTES;
      const status = view.getInt32(at, true);
      const stat = statAt(view, at + 16);
      const offset = Number(view.getBigUint64(at + 8, true));
      if (status === 0) {
        return { kind: "whole", stat, bytes: out.subarray(offset, offset + stat.size) };
      }
      if (status === 1) return { kind: "large", stat };
      if (status === 2) return { kind: "beingWritten" };
      if (status === 3) return { kind: "changed" };
      return { kind: "failed", errno: -status };
    });
  }

  /** A file without a name in a directory of the depot, for {@link place}. */
  createNameless(dir: string): number {
    const fd = this.#calls.p4files_create_nameless(this.root, cString(dir));
    if (fd < 0) throw new FileError(-fd, "create a temporary file in", dir);
    return fd;
  }

  /** Writes all bytes at the offset. */
  async write(fd: number, path: string, bytes: Bytes, offset: number): Promise<void> {
    const call = this.#calls.p4files_pwrite(fd, bytes, BigInt(bytes.length), BigInt(offset));
    const rc = await holding(call, bytes);
    if (rc < 0) throw new FileError(-rc, "write", path);
  }

  /** Opens the directory that the path is in, for {@link place}; null when it is not there. */
  openParent(path: string): number | null {
    const fd = this.#calls.p4files_open_parent(this.root, cString(path));
    if (fd === -ENOENT) return null;
    if (fd < 0) throw new FileError(-fd, "open the directory of", path);
    return fd;
  }

  /**
   * Links the nameless file at its path with mode and mtime; the owner is its directory's.
   * Returns null when the path is taken: nothing is ever overwritten.
   * @param parent Its directory as it was opened before: the file appears in it though it was renamed
   *   since. Null: its directory now, made where it is missing.
   */
  place(
    path: string,
    fd: number,
    mode: number,
    mtimeNs: bigint,
    parent: number | null = null,
  ): FileStat | null {
    const link = (root: number, name: string) =>
      this.#calls.p4files_place(root, cString(name), fd, mode, mtimeNs, this.#stat);
    return this.#place(path, parent, link);
  }

  /** {@link place} for content at hand. */
  placeSmall(
    path: string,
    bytes: Bytes,
    mode: number,
    mtimeNs: bigint,
    parent: number | null = null,
  ): FileStat | null {
    const room = bytes.length > 0 ? bytes : new Uint8Array(1);
    const length = BigInt(bytes.length);
    const link = (root: number, name: string) =>
      this.#calls.p4files_place_small(root, cString(name), room, length, mode, mtimeNs, this.#stat);
    return this.#place(path, parent, link);
  }

  #place(
    path: string,
    parent: number | null,
    link: (root: number, name: string) => number,
  ): FileStat | null {
    const name = path.slice(path.lastIndexOf("/") + 1);
    const rc = parent === null ? -ENOENT : link(parent, name);
    // The directory was removed: it is made anew.
    return this.#placed(rc === -ENOENT ? link(this.root, path) : rc, path);
  }

  #placed(rc: number, path: string): FileStat | null {
    if (rc === -EEXIST) return null;
    if (rc < 0) throw new FileError(-rc, "place", path);
    return statAt(this.#statView, 0);
  }

  /** Makes a directory, and its parents where missing, like their siblings; it may be there. */
  makeDir(path: string): void {
    const rc = this.#calls.p4files_make_dir(this.root, cString(path));
    if (rc < 0) throw new FileError(-rc, "make the directory", path);
  }

  /** Renames within the depot; false when the new name is taken. */
  rename(from: string, to: string): boolean {
    const rc = this.#calls.p4files_rename(this.root, cString(from), cString(to));
    if (rc === -EEXIST) return false;
    if (rc < 0) throw new FileError(-rc, "rename", from);
    return true;
  }

  /**
   * Exchanges two files in one step.
   * @param aside Gets the owner of the one at `path` on its way there.
   */
  exchange(aside: string, path: string): void {
    const rc = this.#calls.p4files_exchange(this.root, cString(aside), cString(path));
    if (rc < 0) throw new FileError(-rc, "exchange", path);
  }

  unlink(path: string): void {
    const rc = this.#calls.p4files_unlink(this.root, cString(path));
    if (rc < 0) throw new FileError(-rc, "remove", path);
  }

  closeFile(fd: number): void {
    this.#calls.p4files_close(fd);
  }

  /** Lists the files below a directory ("" is the whole depot). Close the walk. */
  walk(start: DepotPath): Walk {
    return DepotWalk.open(this.root, start);
  }

  /** Lists the directories below the depot's, each before those below it. Close the walk. */
  walkDirectories(): Walk {
    return DepotWalk.open(this.root, "" as DepotPath, true);
  }

  /**
   * What a directory is, whatever its name: stays through renames and restarts. Null where nothing is, or
   * the filesystem cannot tell.
   */
  identity(dir: string): string | null {
    const out = new Uint8Array(IDENTITY_BYTES);
    const rc = this.#calls.p4files_identity(this.root, cString(dir), out, out.length);
    return rc < 0 ? null : String.fromCharCode(...out.subarray(0, rc));
  }

  /** Leases each file and moves it into the trash directory; see evict.h. */
  beginEviction(
    trashDir: string,
    candidates: readonly EvictionCandidate[],
  ): Promise<Pick<EvictionBatch, "check" | "finish">> {
    return EvictionBatch.begin(this.root, trashDir, candidates);
  }

  /** Resolves when everything that was written to the depot's filesystem so far is on the platter. */
  async sync(): Promise<void> {
    const rc = await this.#calls.p4files_sync(this.root);
    if (rc < 0) throw new FileError(-rc, "sync the filesystem of", this.dir);
  }

  /** Space and inodes of the depot's filesystem. */
  space(): { totalBytes: number; freeBytes: number; totalInodes: number; freeInodes: number } {
    const words = new BigUint64Array(4);
    const rc = this.#calls.p4files_statfs(this.root, new Uint8Array(words.buffer));
    if (rc < 0) throw new FileError(-rc, "stat the filesystem of", this.dir);
    return {
      totalBytes: Number(words[0]),
      freeBytes: Number(words[1]),
      totalInodes: Number(words[2]),
      freeInodes: Number(words[3]),
    };
  }

  close(): void {
    this.#calls.p4files_close(this.root);
    this.#library.close();
  }
}
