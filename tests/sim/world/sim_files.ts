/**
 * `ffi/files.ts` over the simulated disk: system call by system call what `shim/helper/files.c` does.
 *
 * @module
 */

import { EAGAIN, EEXIST, ENOENT, ENOSPC } from "../../../ffi/errno.ts";
import type { EvictionBatch, EvictionCandidate } from "../../../ffi/evict.ts";
import { FileError } from "../../../ffi/file_error.ts";
import type { FileStat } from "../../../ffi/file_stat.ts";
import type { DepotFiles } from "../../../ffi/files.ts";
import type { SmallRead } from "../../../ffi/many.ts";
import type { Walk } from "../../../ffi/walk.ts";
import type { DepotPath } from "../../../src/depot_path.ts";
import type { Ledger } from "../ledger.ts";
import {
  type Directory,
  type Disk,
  Errno,
  type Inode,
  type OpenFile,
  S_IFDIR,
  statOf,
} from "./disk.ts";
import type { ProcessLife } from "./process.ts";
import type { Steps } from "./scheduler.ts";
import { beginEviction } from "./sim_eviction.ts";
import { walkDirectorySteps, walkSteps } from "./sim_walk.ts";

/** What stat says of a directory. */
const DIRECTORY: FileStat = { size: 0, mtimeNs: 0n, ctimeNs: 0n, mode: S_IFDIR | 0o755, nlink: 2 };

/** The public face of the real class. */
type Face = Pick<DepotFiles, keyof DepotFiles>;

/** See the module. */
export class SimFiles implements Face {
  readonly dir = "/depot";
  readonly root = 3;
  /** One in so many placements finds the disk full; 0: none. */
  fullDiskIn = 0;
  readonly #life: ProcessLife;
  readonly #disk: Disk;
  readonly #ledger: Ledger;
  readonly #descriptors = new Map<number, OpenFile | Inode | Directory>();
  #nextDescriptor = 10;

  constructor(life: ProcessLife, disk: Disk, ledger: Ledger) {
    this.#life = life;
    this.#disk = disk;
    this.#ledger = ledger;
  }

  lock(): boolean {
    return true;
  }

  /** What is written is on the platter at once. */
  sync(): Promise<void> {
    return Promise.resolve();
  }

  stat(path: string): FileStat | null {
    return this.#life.call(() => {
      const inode = this.#disk.file(path);
      if (inode !== null) return statOf(inode);
      return this.#disk.directory(path) === null ? null : DIRECTORY;
    });
  }

  statMany(paths: readonly string[]): Promise<(FileStat | null | number)[]> {
    const disk = this.#disk;
    function* steps(): Steps<(FileStat | null)[]> {
      const found = [];
      for (const path of paths) {
        yield null;
        const inode = disk.file(path);
        found.push(inode === null ? null : statOf(inode));
      }
      return found;
    }
    return this.#life.thread("statMany", steps());
  }

  sizesNow(paths: readonly string[]): number[] {
    return this.#life.call(() => paths.map((path) => this.#disk.file(path)?.content.length ?? -1));
  }

  open(path: string): { fd: number; stat: FileStat } {
    return this.#life.call(() => {
      const file = this.#openForReading(path);
      const fd = this.#nextDescriptor++;
      this.#descriptors.set(fd, file);
      return { fd, stat: statOf(file.inode) };
    });
  }

  #openForReading(path: string): OpenFile {
    const entry = this.#disk.find(path);
    const inode = this.#disk.file(path);
    if (entry === null || inode === null) throw new FileError(ENOENT, "open", path);
    // O_NONBLOCK: our own lease is broken, and the open is refused (fcntl(2)).
    if (this.#disk.breakLease(inode)) throw new FileError(EAGAIN, "open", path);
    return this.#disk.open(entry, false, true);
  }

  #opened(fd: number): OpenFile {
    return this.#descriptors.get(fd) as OpenFile;
  }

  read(_fd: number, _path: string, offset: number, length: number): ReturnType<Face["read"]> {
    const file = this.#opened(_fd);
    function* steps(): Steps<Uint8Array<ArrayBuffer>> {
      yield null;
      return file.inode.content.slice(offset, offset + length);
    }
    return this.#life.thread("read", steps());
  }

  statOpen(fd: number, _path: string): FileStat {
    return this.#life.call(() => statOf(this.#opened(fd).inode));
  }

  isBeingWritten(fd: number): boolean {
    return this.#life.call(() => {
      const { inode } = this.#opened(fd);
      return inode.lease !== null || this.#disk.isBeingWritten(inode);
    });
  }

  readMany(
    paths: readonly string[],
    maxBytes: number,
    roomBytes: number,
  ): Promise<SmallRead[]> {
    return this.#life.thread("readMany", this.#readManySteps(paths, maxBytes, roomBytes));
  }

  *#readManySteps(
    paths: readonly string[],
    maxBytes: number,
    roomBytes: number,
  ): Steps<SmallRead[]> {
    const reads: SmallRead[] = [];
    let used = 0;
    for (const path of paths) {
      const read: SmallRead = yield* this.#readOne(path, maxBytes, roomBytes - used);
      if (read.kind === "whole") used += read.bytes.length;
      reads.push(read);
    }
    return reads;
  }

  *#readOne(path: string, maxBytes: number, room: number): Steps<SmallRead> {
    yield null;
    let file: OpenFile;
    try {
      file = this.#openForReading(path);
    } catch (error) {
      return { kind: "failed", errno: (error as FileError).errno };
    }
    try {
      const { inode } = file;
      const stat = statOf(inode);
      if (stat.size > maxBytes || stat.size > room) return { kind: "large", stat };
      yield null;
      if (this.#disk.isBeingWritten(inode)) return { kind: "beingWritten" };
      yield null;
      const bytes = inode.content.slice(0, stat.size);
      yield null;
      const after = statOf(inode);
      const same = bytes.length === stat.size && after.size === stat.size &&
        after.mtimeNs === stat.mtimeNs;
      return same ? { kind: "whole", stat, bytes } : { kind: "changed" };
    } finally {
      this.#disk.close(file);
    }
  }

  createNameless(_dir: string): number {
    return this.#life.call(() => {
      const fd = this.#nextDescriptor++;
      this.#descriptors.set(fd, this.#disk.newInode(0o600));
      return fd;
    });
  }

  setAside(): Promise<void> {
    return Promise.resolve();
  }

  write(fd: number, _path: string, bytes: Uint8Array, offset: number): Promise<void> {
    const inode = this.#descriptors.get(fd) as Inode;
    function* steps(): Steps<void> {
      yield null;
      const content = new Uint8Array(Math.max(inode.content.length, offset + bytes.length));
      content.set(inode.content);
      content.set(bytes, offset);
      inode.content = content;
    }
    return this.#life.thread("write", steps());
  }

  openParent(path: string): number | null {
    return this.#life.call(() => {
      const directory = this.#disk.directoryOf(path);
      if (directory === null) return null;
      const fd = this.#nextDescriptor++;
      this.#descriptors.set(fd, directory);
      return fd;
    });
  }

  place(
    path: string,
    fd: number,
    mode: number,
    mtimeNs: bigint,
    parent: number | null = null,
  ): FileStat | null {
    return this.#life.call(() => {
      const inode = this.#descriptors.get(fd) as Inode;
      return this.#place(this.#pathIn(parent, path), inode, mode, mtimeNs);
    });
  }

  placeSmall(
    path: string,
    bytes: Uint8Array,
    mode: number,
    mtimeNs: bigint,
    parent: number | null = null,
  ): FileStat | null {
    return this.#life.call(() => {
      const inode = this.#disk.newInode(0o600);
      inode.content = new Uint8Array(bytes);
      return this.#place(this.#pathIn(parent, path), inode, mode, mtimeNs);
    });
  }

  /** What a path is called in a directory that may have been renamed since it was opened. */
  #pathIn(parent: number | null, path: string): string {
    if (parent === null) return path;
    return this.#disk.pathIn(this.#descriptors.get(parent) as Directory, path) ?? path;
  }

  #place(path: string, inode: Inode, mode: number, mtimeNs: bigint): FileStat | null {
    if (this.fullDiskIn > 0 && this.#life.random.oneIn(this.fullDiskIn)) {
      throw new FileError(ENOSPC, "place", path);
    }
    this.#disk.makeParents(path);
    inode.mode = (inode.mode & ~0o7777) | mode;
    inode.mtimeNs = mtimeNs;
    try {
      this.#disk.link(inode, path, true);
    } catch (error) {
      if (error instanceof Errno && error.code === EEXIST) return null;
      throw error;
    }
    inode.logical = this.#ledger.get(path);
    this.#life.counts.restored++;
    this.#life.scheduler.note(`daemon: placed ${path}`);
    return statOf(inode);
  }

  rename(from: string, to: string): boolean {
    return this.#life.call(() => {
      this.#disk.makeParents(to);
      this.#life.scheduler.note(`daemon: rename ${from} ${to}`);
      return renameOver(this.#disk, from, to);
    });
  }

  exchange(aside: string, path: string): void {
    this.#life.call(() => {
      this.#life.scheduler.note(`daemon: exchange ${aside} ${path}`);
      try {
        this.#disk.exchange(aside, path);
      } catch (error) {
        throw error instanceof Errno ? new FileError(error.code, "exchange", path) : error;
      }
    });
  }

  makeDir(path: string): void {
    this.#life.call(() => this.#disk.makeDirs(path));
  }

  unlink(path: string): void {
    this.#life.call(() => {
      this.#life.scheduler.note(`daemon: unlink ${path}`);
      try {
        this.#disk.unlink(path, true);
      } catch (error) {
        throw new FileError((error as Errno).code, "remove", path);
      }
    });
  }

  closeFile(fd: number): void {
    const file = this.#descriptors.get(fd);
    if (file !== undefined && "inode" in file) this.#life.call(() => this.#disk.close(file));
    this.#descriptors.delete(fd);
  }

  identity(path: string): string | null {
    return this.#life.call(() => this.#disk.directory(path)?.ino.toString() ?? null);
  }

  /** The machine never stops, and nobody asks for the names again. */
  names(): ReturnType<Face["names"]> {
    return {
      add: () => this.#life.call(() => {}),
      remove: () => this.#life.turn("remove names"),
    };
  }

  walkDirectories(): Walk {
    return this.#walked(walkDirectorySteps(this.#disk));
  }

  walk(start: DepotPath): Walk {
    return this.#walked(walkSteps(this.#disk, start));
  }

  #walked(steps: ReturnType<typeof walkSteps>): Walk {
    return {
      handle: null,
      next: () =>
        this.#life.thread(
          "walk",
          (function* () {
            for (;;) {
              const next = steps.next();
              if (next.done) return null;
              if (next.value !== null) return next.value;
              yield null;
            }
          })(),
        ),
      close: () => {},
    };
  }

  beginEviction(
    trashDir: string,
    candidates: readonly EvictionCandidate[],
  ): Promise<Pick<EvictionBatch, "check" | "finish">> {
    return this.#life.thread("evict", beginEviction(this.#life, this.#disk, trashDir, candidates));
  }

  space() {
    return { totalBytes: 1e9, freeBytes: 9e8, totalInodes: 1e6, freeInodes: 9e5 };
  }

  close(): void {}
}

/** renameat2(RENAME_NOREPLACE): false when the new name is taken. */
export function renameOver(disk: Disk, from: string, to: string): boolean {
  try {
    disk.rename(from, to, { replace: false, byDaemon: true });
    return true;
  } catch (error) {
    if (!(error instanceof Errno)) throw error;
    if (error.code === EEXIST) return false;
    throw new FileError(error.code, "rename", from);
  }
}
