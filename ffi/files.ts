/**
 * Typed binding of `shim/helper/files.h`: depot files beneath the depot's directory. What the engine does
 * to a depot goes through {@link DepotFiles}; the simulation puts a world in memory in its place.
 *
 * @module
 */

import type { DepotPath } from "../src/depot_path.ts";
import { type EvictionBatch, type EvictionCandidate, Evictions } from "./evict.ts";
import { EAGAIN, EEXIST, ENOENT } from "./errno.ts";
import { FileError } from "./file_error.ts";
import { type FileStat, STAT_BYTES, statAt } from "./file_stat.ts";
import { type Bytes, cString, holding, openHelper } from "./library.ts";
import { ManyFiles, type SmallRead } from "./many.ts";
import { Names } from "./names.ts";
import { DepotWalk, type Walk } from "./walk.ts";

const SYMBOLS = {
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
  p4files_set_aside: { parameters: ["i32", "i64"], result: "i32", nonblocking: true },
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

/** Filesystem id, and the largest file handle with its type. */
const IDENTITY_BYTES = 8 + 4 + 128;

/**
 * The files of one depot. Paths are one character per byte, relative to the depot. Each call throws
 * {@link FileError}, with the path, for a failure that its description does not give another meaning.
 */
export class DepotFiles {
  readonly #library = openHelper(SYMBOLS);
  readonly #calls = this.#library.symbols;
  readonly #stat: Bytes = new Uint8Array(STAT_BYTES);
  readonly #statView = new DataView(this.#stat.buffer);
  readonly #many: ManyFiles;
  readonly #evictions: Evictions;
  readonly #names: Names[] = [];
  /** Descriptor of the depot's directory, for the other bindings. */
  readonly root: number;

  /** @throws FileError when the directory cannot be opened. */
  constructor(readonly dir: string) {
    this.#calls.p4files_init();
    this.root = this.#calls.p4files_open_root(cString(dir));
    if (this.root < 0) throw new FileError(-this.root, "open the depot", dir);
    this.#many = new ManyFiles(this.root, dir);
    this.#evictions = new Evictions(this.root);
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

  /** See {@link ManyFiles.stat}. */
  statMany(paths: readonly string[]): Promise<(FileStat | null | number)[]> {
    return this.#many.stat(paths);
  }

  /** See {@link ManyFiles.sizesNow}. */
  sizesNow(paths: readonly string[]): number[] {
    return this.#many.sizesNow(paths);
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

  /** See {@link ManyFiles.read}. */
  readMany(
    paths: readonly string[],
    maxBytes: number,
    roomBytes: number,
  ): Promise<SmallRead[]> {
    return this.#many.read(paths, maxBytes, roomBytes);
  }

  /** A file without a name in a directory of the depot, for {@link place}. */
  createNameless(dir: string): number {
    const fd = this.#calls.p4files_create_nameless(this.root, cString(dir));
    if (fd < 0) throw new FileError(-fd, "create a temporary file in", dir);
    return fd;
  }

  /** Sets aside disk space for a file that is still to be written; its size stays. */
  async setAside(fd: number, path: string, bytes: number): Promise<void> {
    const rc = await this.#calls.p4files_set_aside(fd, BigInt(bytes));
    if (rc < 0) throw new FileError(-rc, "set space aside for", path);
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

  /** Opens a directory in which only the names count; closed with the depot. */
  names(dir: string): Pick<Names, "add" | "remove"> {
    const fd = this.#calls.p4files_open_parent(this.root, cString(`${dir}/.`));
    if (fd < 0) throw new FileError(-fd, "open", dir);
    const names = new Names(fd, dir);
    this.#names.push(names);
    return names;
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
    return this.#evictions.begin(trashDir, candidates);
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
    this.#many.close();
    this.#evictions.close();
    for (const names of this.#names) {
      this.closeFile(names.fd);
      names.close();
    }
    this.#library.close();
  }
}
