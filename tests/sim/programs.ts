/**
 * What programs do to the depot: p4d under the shim, and others without it. Each yield is a moment in
 * which anything else may happen. One class, however long: each of its methods is read alone.
 *
 * The shim's rules are those of `docs/explanation/shim.md`: "no such file" asks the daemon, a create
 * asks first, a writer compares what it opened with what is at the path.
 *
 * @module
 */

import { EIO, ENOENT } from "../../ffi/errno.ts";
import type { FetchAnswer, UnlinkAnswer } from "../../src/server/shim_server.ts";
import { type Disk, type Entry, Errno, type OpenFile } from "./world/disk.ts";
import type { Scheduler, Steps } from "./world/scheduler.ts";
import type { Ledger, LogicalFile } from "./ledger.ts";
import type { Random } from "./random.ts";

/** Longest time a system call in flight needs from finding an inode to its lease check, ms. */
const OPEN_MS = 1;

/** Times a call is made again because its file was evicted once more. */
const TRIES = 20;

/** Files of which one in so many is larger than what is read and fetched at once. */
const LARGE_IN = 80;
const LARGE_BYTES = 1024 * 1024 + 1;

/** What programs work on. */
export interface ProgramParts {
  readonly disk: Disk;
  readonly ledger: Ledger;
  readonly scheduler: Scheduler;
  readonly random: Random;
  /** The shim's requests; null while nobody listens. */
  readonly fetch: (path: string) => Promise<FetchAnswer> | null;
  readonly unlink: (path: string) => Promise<UnlinkAnswer> | null;
  readonly daemonDeaths: () => number;
  /** An answer to a FETCH that must not have been given. */
  readonly violated: (promise: string, what: string) => void;
  /** Whether programs pause: then the daemon uploads and evicts until nothing is left to do. */
  readonly isQuiet: () => boolean;
  /** Paths that programs use. */
  readonly paths: readonly string[];
  /** Whether the daemon knows what the directories are; see docs, "taken for granted". */
  readonly mayRename: () => boolean;
  /** Directories that they rename. */
  readonly directories: readonly string[];
  /** Of operations that may be one, one in so many is such a rename. */
  readonly renamesIn: number;
}

/** How to open. */
interface OpenFlags {
  readonly write?: boolean;
  readonly create?: boolean;
  readonly truncate?: boolean;
}

/** One program; `usesShim` false: it knows nothing of the cache. */
export class Program {
  readonly #parts: ProgramParts;
  readonly #name: string;
  readonly #usesShim: boolean;
  #serial = 0;

  constructor(parts: ProgramParts, name: string, usesShim: boolean) {
    this.#parts = parts;
    this.#name = name;
    this.#usesShim = usesShim;
  }

  /** Works until it is told to stop; ends between two operations. */
  *work(isStopped: () => boolean): Steps<void> {
    const { random, paths } = this.#parts;
    while (!isStopped()) {
      const path = random.pick(paths);
      try {
        yield* this.#operation(path);
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
      }
      for (let i = random.below(4); i > 0; i--) yield null;
      if (this.#parts.isQuiet()) yield () => !this.#parts.isQuiet();
    }
  }

  #operation(path: string): Steps<void> {
    const { random, directories, renamesIn } = this.#parts;
    const other = random.pick(this.#parts.paths);
    const appends = [
      () => this.#append(path),
      () => this.#rewriteSame(path),
      () => this.#rewriteInTime(path),
    ];
    if (!this.#usesShim) return random.pick(appends)();
    if (random.oneIn(3)) return this.read(path);
    if (random.oneIn(3)) return random.pick(appends)();
    if (random.oneIn(20)) return this.#link(path, other);
    if (directories.length > 0 && random.oneIn(renamesIn)) return this.#renameDirectory();
    return random.pick([
      () => this.#writeWhole(path),
      () => this.#writeWhole(path),
      () => this.#replace(path),
      () => this.#replace(path),
      () => this.#truncate(path),
      () => this.#map(path),
      () => this.#chmod(path),
      () => this.#unlink(path),
    ])();
  }

  #note(line: string): void {
    this.#parts.scheduler.note(`${this.#name}: ${line}`);
  }

  // ---- operations ----

  /** Reads the whole file and keeps it open for a moment. */
  *read(path: string): Steps<void> {
    const file = yield* this.#open(path, {});
    yield* this.#hold();
    this.#parts.disk.close(file);
  }

  /** Keeps a file open, for a moment or for long. */
  *#hold(): Steps<void> {
    const { random } = this.#parts;
    for (let i = random.below(random.oneIn(5) ? 150 : 4); i > 0; i--) yield null;
  }

  *#writeWhole(path: string): Steps<void> {
    const file = yield* this.#open(path, { write: true, create: true, truncate: true });
    yield* this.#writeRest(file);
    this.#close(file);
  }

  *#append(path: string): Steps<void> {
    const file = yield* this.#open(path, { write: true, create: this.#usesShim });
    yield* this.#hold();
    yield* this.#writeRest(file);
    this.#close(file);
  }

  /** Other bytes, the same length, often in the same tick of the clock. */
  *#rewriteSame(path: string): Steps<void> {
    const file = yield* this.#open(path, { write: true });
    yield* this.#hold();
    const bytes = this.#bytes(file.inode.content.length);
    this.#write(file, () => bytes);
    yield null;
    this.#close(file);
  }

  /** Other bytes, the same length, and the time that the file had before: only the ctime tells. */
  *#rewriteInTime(path: string): Steps<void> {
    const { disk } = this.#parts;
    const file = yield* this.#open(path, { write: true });
    const { mtimeNs, content } = file.inode;
    const bytes = this.#bytes(content.length);
    this.#write(file, () => bytes);
    yield null;
    // Of other names no event tells: see docs, "taken for granted".
    if (file.inode.nlink === 1) disk.setTime(file.entry, mtimeNs);
    yield null;
    this.#close(file);
  }

  /** A temporary beside it, renamed over it when whole, now or later. */
  *#replace(path: string): Steps<void> {
    const { disk, random, ledger } = this.#parts;
    const temporary = random.oneIn(2)
      ? `${path}.${this.#name}`
      : path.replace(/[^/]*$/, `tmp.${this.#name.length}.${this.#name.charCodeAt(1)}`);
    const file = yield* this.#open(temporary, { write: true, create: true, truncate: true });
    const there = disk.file(path);
    if (there !== null && random.oneIn(4)) this.#makeAlike(file, there);
    else yield* this.#writeRest(file);
    this.#close(file);
    for (let i = random.oneIn(3) ? 200 : random.below(4); i > 0; i--) yield null;
    yield* this.#restored(temporary, () => {
      const logical = ledger.get(temporary);
      disk.rename(temporary, path, { replace: true, byDaemon: false });
      ledger.remove(temporary);
      if (logical !== null) ledger.set(path, logical);
      this.#note(`rename ${temporary} ${path}`);
    });
  }

  /** Other bytes; size and time of the file that it is going to replace. */
  #makeAlike(file: OpenFile, { content, mtimeNs }: OpenFile["inode"]): void {
    const bytes = this.#bytes(content.length);
    this.#write(file, () => bytes);
    this.#parts.disk.setTime(file.entry, mtimeNs);
  }

  /** rename(2) of a directory to where nothing is, or an empty directory. */
  *#renameDirectory(): Steps<void> {
    const { disk, random, directories } = this.#parts;
    // Often in the moment of an eviction.
    let i = random.oneIn(2) ? 100 : 1;
    while (i-- > 0 && disk.list(".p4cache/trash").length === 0) yield null;
    let from = random.pick(directories);
    // Often once more, or back, before anybody knows of the first.
    do {
      from = this.#renameOnce(from, random.pick(directories));
      yield null;
    } while (random.oneIn(3));
  }

  /** Gives where the directory is then. */
  #renameOnce(from: string, to: string): string {
    const { disk, ledger } = this.#parts;
    if (!this.#parts.mayRename()) return from;
    if (disk.directory(from) === null || `${to}/`.startsWith(`${from}/`)) return from;
    if ([...ledger.files.keys()].some((path) => path.startsWith(`${to}/`))) return from;
    // One deleted by its old name at this moment may be there under the new one, or not.
    if ([...ledger.removing].some((path) => path.startsWith(`${from}/`))) return from;
    disk.rename(from, to, { replace: true, byDaemon: false });
    ledger.renameDirectory(from, to);
    this.#note(`rename directory ${from} ${to}`);
    return to;
  }

  *#link(path: string, other: string): Steps<void> {
    const { disk, ledger } = this.#parts;
    const entry = yield* this.#restored(path, () => this.#find(path));
    yield* this.#inKernel(() => {
      const inode = entry.target as OpenFile["inode"];
      // The other name may be an evicted file's: then the shim has restored it, and link(2) fails.
      if (inode.nlink === 0 || inode.logical === null || ledger.get(other) !== null) return;
      disk.link(inode, other);
      ledger.set(other, inode.logical);
      this.#note(`link ${path} ${other}`);
    });
  }

  /** Where there is nothing to unlink, the shim tells the daemon. */
  *#unlink(path: string): Steps<void> {
    const { disk, ledger } = this.#parts;
    for (let i = 0; i < TRIES; i++) {
      yield null;
      if (disk.find(path) !== null) {
        disk.unlink(path);
        ledger.remove(path);
        this.#note(`unlink ${path}`);
        return;
      }
      if (!this.#usesShim) throw new Errno(ENOENT);
      // From the daemon's note of it to its answer the file is there for some and gone for others.
      ledger.removing.add(path);
      const answer = yield* this.#request(() => this.#parts.unlink(path));
      ledger.removing.delete(path);
      this.#note(`UNLINK ${path}: ${answer.kind}`);
      if (answer.kind === "local") continue;
      if (answer.kind === "error") throw new Errno(EIO);
      if (disk.find(path) === null) ledger.remove(path);
      return;
    }
  }

  /** truncate(2): no event tells of it. */
  *#truncate(path: string): Steps<void> {
    const { disk, random } = this.#parts;
    const entry = yield* this.#restored(path, () => this.#find(path));
    const file = yield* this.#openFound(entry, true);
    const length = random.below(40);
    this.#note(`truncate ${path} to ${length}`);
    this.#write(file, (bytes) => {
      const content = new Uint8Array(length);
      content.set(bytes.subarray(0, length));
      return content;
    });
    disk.release(file);
  }

  /** Stores through a mapping after the close; the event comes when the mapping goes. */
  *#map(path: string): Steps<void> {
    const { random } = this.#parts;
    const file = yield* this.#open(path, { write: true });
    let first = true;
    for (let i = 1 + random.below(4); i > 0; i--) {
      yield null;
      const bytes = this.#bytes(file.inode.content.length);
      this.#write(file, () => bytes, !first);
      first = false;
    }
    yield null;
    this.#close(file);
  }

  *#chmod(path: string): Steps<void> {
    const { disk, random } = this.#parts;
    const entry = yield* this.#restored(path, () => this.#find(path));
    const mode = random.pick([0o444, 0o644, 0o600]);
    yield* this.#inKernel(() => {
      this.#note(`chmod ${path} ${mode.toString(8)}`);
      const logical = this.#logicalOf(entry);
      if (logical !== null) logical.mode = mode;
      disk.setMode(entry, mode);
    });
  }

  #find(path: string): Entry {
    const entry = this.#parts.disk.find(path);
    if (entry === null) throw new Errno(ENOENT);
    return entry;
  }

  // ---- bytes ----

  #bytes(length: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(length);
    const stamp = `${this.#name}.${this.#serial++}/`;
    for (let i = 0; i < length; i++) {
      // A large one is told apart by its beginning.
      if (i === 4096) break;
      bytes[i] = stamp.charCodeAt(i % stamp.length);
    }
    return bytes;
  }

  *#writeRest(file: OpenFile): Steps<void> {
    const { random } = this.#parts;
    const isLarge = random.oneIn(LARGE_IN) && file.inode.content.length < 1000;
    for (let i = isLarge ? 1 : 1 + random.below(3); i > 0; i--) {
      yield null;
      const more = this.#bytes(isLarge ? LARGE_BYTES : 4 + random.below(40));
      this.#write(file, (bytes) => {
        // Long files are begun anew: the world stays small.
        const kept = bytes.length > 200 ? new Uint8Array(0) : bytes;
        const content = new Uint8Array(kept.length + more.length);
        content.set(kept);
        content.set(more, kept.length);
        return content;
      });
    }
    yield null;
  }

  #write(
    file: OpenFile,
    change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
    silently = false,
  ): void {
    this.#apply(file.entry, this.#logicalOf(file.entry), change, silently);
  }

  /** The change of the bytes on disk, and of what p4d believes: the same on both. */
  #apply(
    entry: Entry,
    logical: LogicalFile | null,
    change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
    silently = false,
  ): void {
    const { disk, ledger } = this.#parts;
    const { content } = entry.target as OpenFile["inode"];
    const changed = change(content);
    const believed = logical === null || logical.content === content
      ? changed
      : change(logical.content);
    if (logical !== null) ledger.write(logical, believed);
    disk.write(entry, changed, silently);
  }

  #logicalOf(entry: Entry): LogicalFile | null {
    return (entry.target as OpenFile["inode"]).logical;
  }

  #close(file: OpenFile): void {
    const { disk } = this.#parts;
    this.#note(`close ${disk.pathOf(file.entry)} (${file.inode.content.length} bytes)`);
    disk.close(file);
  }

  // ---- the shim ----

  /** Makes a call; where it finds no file, asks the daemon and makes it again. */
  *#restored<T>(path: string, call: () => T): Steps<T> {
    for (let i = 0;; i++) {
      yield null;
      try {
        return call();
      } catch (error) {
        if (!(error instanceof Errno) || error.code !== ENOENT || !this.#usesShim) throw error;
        if (i === TRIES || !(yield* this.#ask(path))) throw error;
      }
    }
  }

  /** FETCH: whether the file is there now. @throws Errno EIO when the daemon could not tell. */
  *#ask(path: string): Steps<boolean> {
    const { disk, ledger, violated } = this.#parts;
    const birth = ledger.get(path) === null ? -1 : ledger.birth(path);
    const mayBeGone = ledger.removing.has(path);
    const answer = yield* this.#request(() => this.#parts.fetch(path));
    this.#note(`FETCH ${path}: ${answer.kind}${answer.kind === "error" ? ` ${answer.why}` : ""}`);
    if (answer.kind === "ok") return true;
    if (answer.kind === "error") throw new Errno(EIO);
    // One that is there was linked to the path since.
    if (ledger.get(path)?.cameBack && disk.find(path) === null) ledger.remove(path);
    const wasThere = birth >= 0 && !mayBeGone && !ledger.removing.has(path) &&
      ledger.get(path) !== null && ledger.birth(path) === birth;
    if (wasThere) violated("P3", `FETCH ${path}: NOTFOUND, though p4d did not delete it`);
    return false;
  }

  /** Asks the daemon, and again when it died before it answered. */
  *#request<T>(send: () => Promise<T> | null): Steps<T> {
    const { scheduler, daemonDeaths } = this.#parts;
    for (;;) {
      const deaths = daemonDeaths();
      const asked = send();
      if (asked === null) {
        yield null;
        continue;
      }
      const answers: T[] = [];
      void asked.then((value) => answers.push(value));
      scheduler.touch();
      yield () => answers.length > 0 || daemonDeaths() !== deaths;
      const [answer] = answers;
      if (answer !== undefined && daemonDeaths() === deaths) return answer;
    }
  }

  /** open(2) under the shim: again when the file went while it was opened. */
  *#open(path: string, flags: OpenFlags): Steps<OpenFile> {
    for (let i = 0; i < TRIES; i++) {
      const file = yield* this.#openOnce(path, flags);
      if (file !== null) return file;
    }
    throw new Errno(EIO);
  }

  *#openOnce(path: string, flags: OpenFlags): Steps<OpenFile | null> {
    const { write = false, create = false, truncate = false } = flags;
    const { disk } = this.#parts;
    yield null;
    let entry = disk.find(path);
    if (entry === null && !(create && (truncate || !this.#usesShim))) {
      if (!this.#usesShim) throw new Errno(ENOENT);
      if (yield* this.#ask(path)) return null;
      if (!create) throw new Errno(ENOENT);
      yield null;
      entry = disk.find(path);
    }
    if (entry === null) return disk.open(this.#create(path), write);
    const file = yield* this.#openFound(entry, write);
    const isGone = () => file.inode.nlink === 0;
    if (truncate && !(this.#usesShim && isGone())) this.#write(file, () => new Uint8Array(0));
    if (!write || !this.#usesShim) return file;
    yield null;
    if (!isGone() && disk.file(path) === file.inode) return file;
    disk.close(file);
    return null;
  }

  #create(path: string): Entry {
    const { disk, ledger } = this.#parts;
    const mode = 0o644;
    disk.makeParents(path);
    const entry = disk.create(path, mode);
    const logical = { content: new Uint8Array(0), mode, wasRenamed: false, cameBack: false };
    (entry.target as OpenFile["inode"]).logical = logical;
    ledger.set(path, logical);
    this.#note(`create ${path}`);
    return entry;
  }

  /** From the inode that was found to the open file: waits while a lease is held. */
  *#openFound(entry: Entry, writing: boolean): Steps<OpenFile> {
    const { disk } = this.#parts;
    const file = yield* this.#inKernel(() => {
      // It counts as open before the lease is looked at (do_dentry_open in fs/open.c).
      const opened = disk.open(entry, writing);
      disk.breakLease(opened.inode);
      return opened;
    });
    if (file.inode.lease !== null) yield () => file.inode.lease === null;
    return file;
  }

  /** The second half of a system call: soon after the first, though other things come between. */
  *#inKernel<T>(work: () => T): Steps<T> {
    const { scheduler } = this.#parts;
    const done = once(work);
    const deadline = { atMs: scheduler.nowMs + OPEN_MS, finish };
    function finish(): void {
      scheduler.deadlines.delete(deadline);
      try {
        done();
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
      }
    }
    scheduler.deadlines.add(deadline);
    yield null;
    scheduler.deadlines.delete(deadline);
    return done();
  }
}

/** Does the work at the first call; gives its result, or its error, at each. */
function once<T>(work: () => T): () => T {
  let result: (() => T) | null = null;
  return () => {
    if (result !== null) return result();
    try {
      const value = work();
      result = () => value;
    } catch (error) {
      result = () => {
        throw error;
      };
    }
    return result();
  };
}
