/**
 * The simulated filesystem under the depot, as the kernel keeps it: inodes, directory entries, open
 * files, mappings, leases, events. Each method is one atomic thing.
 *
 * Beside it lives what p4d believes (`ledger.ts`): each operation of a program is entered there in the
 * same instant.
 *
 * @module
 */

import { EEXIST, ENOENT, ENOTDIR, ENOTEMPTY } from "../../../ffi/errno.ts";
import type { DepotPath } from "../../../src/depot_path.ts";
import type { LogicalFile } from "../ledger.ts";

/** Resolution of file times, ns: the longest tick that kernels are built with (CONFIG_HZ=100). */
const TICK_NS = 10_000_000n;

export const S_IFREG = 0o100000, S_IFDIR = 0o040000;

/** A file, whatever its names. */
export interface Inode {
  readonly ino: number;
  content: Uint8Array<ArrayBuffer>;
  mtimeNs: bigint;
  /** When anything of it changed last. */
  ctimeNs: bigint;
  mode: number;
  nlink: number;
  readonly opens: Set<OpenFile>;
  lease: Lease | null;
  /** The file as p4d sees it that these bytes are; null for one of the daemon's own. */
  logical: LogicalFile | null;
}

/** A name in a directory; it moves when it is renamed. */
export interface Entry {
  parent: Directory | null;
  name: string;
  readonly target: Inode | Directory;
}

/** A directory. */
export interface Directory {
  readonly isDirectory: true;
  readonly ino: number;
  entry: Entry | null;
  readonly entries: Map<string, Entry>;
}

/** An open file description; a mapping keeps it after its close. */
export interface OpenFile {
  readonly inode: Inode;
  readonly entry: Entry;
  readonly writing: boolean;
  readonly byDaemon: boolean;
}

/** A write lease of the daemon. */
export interface Lease {
  readonly holder: OpenFile;
  breaking: boolean;
}

/** What the kernel tells the watcher. */
export interface KernelEvent {
  readonly kind: "entry" | "treeCame" | "treeLeft" | "treeRenamed";
  readonly path: string;
  /** Of a renamed directory: where it is. */
  readonly to?: string;
  /** Whether a name went. */
  readonly removed?: boolean;
}

/** Error of a system call. */
export class Errno extends Error {
  constructor(readonly code: number) {
    super(`errno ${code}`);
  }
}

function isDirectory(target: Inode | Directory): target is Directory {
  return "isDirectory" in target;
}

/** See the module. Paths are relative to the depot. */
export class Disk {
  readonly root: Directory = { isDirectory: true, ino: 0, entry: null, entries: new Map() };
  /** The kernel's queue; null while nobody watches. */
  events: KernelEvent[] | null = null;
  /** Told of each path whose bytes or name changed. */
  onChange: (path: string) => void = () => {};
  readonly #nowNs: () => bigint;
  readonly #daemonsOpen = new Set<OpenFile>();
  #nextInode = 1;

  constructor(nowNs: () => bigint) {
    this.#nowNs = nowNs;
  }

  // ---- names ----

  find(path: string): Entry | null {
    const { dir, name } = this.#parent(path);
    return dir?.entries.get(name) ?? null;
  }

  /** The regular file at the path. */
  file(path: string): Inode | null {
    const target = this.find(path)?.target;
    return target === undefined || isDirectory(target) ? null : target;
  }

  /** The directory at the path; "" is the depot. */
  directory(path: string): Directory | null {
    const target = path === "" ? this.root : this.find(path)?.target;
    return target === undefined || !isDirectory(target) ? null : target;
  }

  /** The directory that the path is in. */
  directoryOf(path: string): Directory | null {
    return this.#parent(path).dir;
  }

  /** What the last name of a path is called in the directory; null when that was removed. */
  pathIn(directory: Directory, path: string): string | null {
    const name = path.slice(path.lastIndexOf("/") + 1);
    if (directory === this.root) return name;
    const dir = directory.entry === null ? "" : this.pathOf(directory.entry);
    return this.directory(dir) === directory ? `${dir}/${name}` : null;
  }

  #parent(path: string): { dir: Directory | null; name: string } {
    const parts = path.split("/");
    const name = parts.pop()!;
    let dir: Directory | null = this.root;
    for (const part of parts) {
      const target: Inode | Directory | undefined = dir.entries.get(part)?.target;
      if (target === undefined || !isDirectory(target)) return { dir: null, name };
      dir = target;
    }
    return { dir, name };
  }

  #parentOrThrow(path: string): { dir: Directory; name: string } {
    const { dir, name } = this.#parent(path);
    if (dir === null) throw new Errno(ENOENT);
    return { dir, name };
  }

  makeDirs(path: string): void {
    let dir = this.root;
    for (const name of path.split("/")) {
      let entry = dir.entries.get(name);
      if (entry === undefined) {
        const ino = this.#nextInode++;
        const made: Directory = { isDirectory: true, ino, entry: null, entries: new Map() };
        entry = { parent: dir, name, target: made };
        made.entry = entry;
        dir.entries.set(name, entry);
      }
      if (!isDirectory(entry.target)) throw new Errno(ENOTDIR);
      dir = entry.target;
    }
  }

  makeParents(path: string): void {
    const slash = path.lastIndexOf("/");
    if (slash > 0) this.makeDirs(path.slice(0, slash));
  }

  pathOf(entry: Entry): string {
    const names = [entry.name];
    for (let dir = entry.parent; dir !== null && dir.entry !== null; dir = dir.entry.parent) {
      names.unshift(dir.entry.name);
    }
    return names.join("/");
  }

  /** Names in a directory; none when it is not there. */
  list(path: string): { name: string; isDirectory: boolean }[] {
    const entries = this.directory(path)?.entries.values() ?? [];
    return [...entries].map((entry) => ({
      name: entry.name,
      isDirectory: isDirectory(entry.target),
    }));
  }

  create(path: string, mode: number): Entry {
    const { dir, name } = this.#parentOrThrow(path);
    if (dir.entries.has(name)) throw new Errno(EEXIST);
    const entry = { parent: dir, name, target: this.newInode(mode) };
    dir.entries.set(name, entry);
    entry.target.nlink = 1;
    this.#changed(entry);
    return entry;
  }

  /** A file without a name. */
  newInode(mode: number): Inode {
    return {
      ino: this.#nextInode++,
      content: new Uint8Array(0),
      mtimeNs: this.#tick(),
      ctimeNs: this.#tick(),
      mode: S_IFREG | mode,
      nlink: 0,
      opens: new Set(),
      lease: null,
      logical: null,
    };
  }

  /** link(2), also of a file that has no name yet. */
  link(inode: Inode, path: string, byDaemon = false): Entry {
    const { dir, name } = this.#parentOrThrow(path);
    if (dir.entries.has(name)) throw new Errno(EEXIST);
    const entry = { parent: dir, name, target: inode };
    dir.entries.set(name, entry);
    inode.nlink++;
    inode.ctimeNs = this.#tick();
    this.#changed(entry);
    this.#tell({ kind: "entry", path }, byDaemon);
    return entry;
  }

  /** rename(2) of a file or directory; `replace` false: RENAME_NOREPLACE. */
  rename(from: string, to: string, options: { replace: boolean; byDaemon: boolean }): void {
    const source = this.#parentOrThrow(from);
    const entry = source.dir.entries.get(source.name);
    if (entry === undefined) throw new Errno(ENOENT);
    const { dir, name } = this.#parentOrThrow(to);
    const there = dir.entries.get(name);
    if (there !== undefined && !options.replace) throw new Errno(EEXIST);
    if (there !== undefined && there.target === entry.target) return;
    if (there !== undefined) {
      if (isDirectory(there.target)) {
        if (there.target.entries.size > 0 || !isDirectory(entry.target)) throw new Errno(ENOTEMPTY);
      } else {
        there.target.nlink--;
        this.#changed(there);
      }
    }
    if (!isDirectory(entry.target)) entry.target.ctimeNs = this.#tick();
    source.dir.entries.delete(source.name);
    this.#changed(entry);
    entry.parent = dir;
    entry.name = name;
    dir.entries.set(name, entry);
    this.#changed(entry);
    const { byDaemon } = options;
    const isTree = isDirectory(entry.target);
    if (isTree) this.#tell({ kind: "treeRenamed", path: from, to }, byDaemon);
    this.#tell({ kind: isTree ? "treeLeft" : "entry", path: from, removed: true }, byDaemon);
    this.#tell({ kind: isTree ? "treeCame" : "entry", path: to }, byDaemon);
  }

  /** renameat2(2) with RENAME_EXCHANGE, of two files. */
  exchange(from: string, to: string): void {
    const a = this.find(from), b = this.find(to);
    if (a === null || b === null) throw new Errno(ENOENT);
    const { parent, name } = a;
    for (const { target } of [a, b]) (target as Inode).ctimeNs = this.#tick();
    this.#put(a, b.parent!, b.name);
    this.#put(b, parent!, name);
  }

  #put(entry: Entry, dir: Directory, name: string): void {
    entry.parent = dir;
    entry.name = name;
    dir.entries.set(name, entry);
    this.#changed(entry);
  }

  unlink(path: string, byDaemon = false): void {
    const { dir, name } = this.#parentOrThrow(path);
    const entry = dir.entries.get(name);
    if (entry === undefined || isDirectory(entry.target)) throw new Errno(ENOENT);
    dir.entries.delete(name);
    entry.target.nlink--;
    entry.target.ctimeNs = this.#tick();
    this.#changed(entry);
    this.#tell({ kind: "entry", path, removed: true }, byDaemon);
  }

  // ---- open files ----

  /** Whether an open must wait: a lease is held; it is being broken from now on. */
  breakLease(inode: Inode): boolean {
    if (inode.lease === null) return false;
    inode.lease.breaking = true;
    return true;
  }

  open(entry: Entry, writing: boolean, byDaemon = false): OpenFile {
    const file = { inode: entry.target as Inode, entry, writing, byDaemon };
    file.inode.opens.add(file);
    if (byDaemon) this.#daemonsOpen.add(file);
    return file;
  }

  /** The last reference is dropped: a lease ends with it, a writer's close is an event. */
  close(file: OpenFile): void {
    this.release(file);
    if (file.writing) this.#tell({ kind: "entry", path: this.pathOf(file.entry) }, file.byDaemon);
  }

  /** A system call that took no descriptor is over: no event. */
  release(file: OpenFile): void {
    file.inode.opens.delete(file);
    this.#daemonsOpen.delete(file);
    if (file.inode.lease?.holder === file) file.inode.lease = null;
  }

  /** The daemon's process ended: what it had open is closed, and nobody watches. */
  endDaemon(): void {
    for (const file of [...this.#daemonsOpen]) this.close(file);
    this.events = null;
  }

  /** fcntl(F_SETLEASE, F_WRLCK): only when nobody else has it open or mapped. */
  lease(holder: OpenFile): boolean {
    const { inode } = holder;
    if (inode.lease !== null || inode.opens.size !== 1) return false;
    inode.lease = { holder, breaking: false };
    return true;
  }

  isBeingWritten(inode: Inode): boolean {
    return [...inode.opens].some((file) => file.writing);
  }

  // ---- bytes ----

  /** Replaces the content; `silently`: a store to a mapped page that was written to before. */
  write(entry: Entry, content: Uint8Array<ArrayBuffer>, silently = false): void {
    const inode = entry.target as Inode;
    inode.content = content;
    if (!silently) inode.mtimeNs = inode.ctimeNs = this.#tick();
    this.#changed(entry);
  }

  /** chmod(2): an event, no break of a lease. */
  setMode(entry: Entry, mode: number): void {
    const inode = entry.target as Inode;
    inode.mode = S_IFREG | mode;
    inode.ctimeNs = this.#tick();
    this.#changed(entry);
    this.#tell({ kind: "entry", path: this.pathOf(entry) }, false);
  }

  /** utimensat(2): an event, no break of a lease. */
  setTime(entry: Entry, mtimeNs: bigint): void {
    const inode = entry.target as Inode;
    inode.mtimeNs = mtimeNs;
    inode.ctimeNs = this.#tick();
    this.#changed(entry);
    this.#tell({ kind: "entry", path: this.pathOf(entry) }, false);
  }

  /** The clock, ns since the epoch. */
  get nowNs(): bigint {
    return this.#nowNs();
  }

  #tick(): bigint {
    const now = this.#nowNs();
    return now - now % TICK_NS;
  }

  #changed(entry: Entry): void {
    this.onChange(this.pathOf(entry));
  }

  #tell(event: KernelEvent, byDaemon: boolean): void {
    if (byDaemon || event.path.startsWith(".p4cache/")) return;
    this.events?.push(event);
  }
}

/** What stat(2) says. */
export function statOf(inode: Inode) {
  const { content, mtimeNs, ctimeNs, mode, nlink } = inode;
  return { size: content.length, mtimeNs, ctimeNs, mode, nlink };
}

export function asDepotPath(path: string): DepotPath {
  return path as DepotPath;
}
