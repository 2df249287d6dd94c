/**
 * The calls of a program that the cache has part in, under the shim or not. Each yield is a moment in which
 * anything else may happen.
 *
 * The shim's rules are those of `docs/explanation/shim.md`: "no such file" asks the daemon, a create
 * asks first, a writer compares what it opened with what is at the path.
 *
 * @module
 */

import { EIO, ENOENT } from "../../ffi/errno.ts";
import type { FetchAnswer } from "../../src/server/shim_server.ts";
import type { Ledger, LogicalFile } from "./ledger.ts";
import { type Disk, type Entry, Errno, type OpenFile } from "./world/disk.ts";
import type { Scheduler, Steps } from "./world/scheduler.ts";

/** Longest time a system call in flight needs from finding an inode to its lease check, ms. */
const OPEN_MS = 1;

/** Times a call is made again because its file was evicted once more. */
export const TRIES = 20;

/** What calls work on. */
export interface CallParts {
  readonly disk: Disk;
  readonly ledger: Ledger;
  readonly scheduler: Scheduler;
  /** The shim's request; null while nobody listens. */
  readonly fetch: (path: string) => Promise<FetchAnswer> | null;
  readonly daemonDeaths: () => number;
  /** An answer to a FETCH that must not have been given. */
  readonly violated: (promise: string, what: string) => void;
}

/** How to open. */
interface OpenFlags {
  readonly write?: boolean;
  readonly create?: boolean;
  readonly truncate?: boolean;
}

/** The calls of one program. */
export class ProgramCalls {
  readonly #parts: CallParts;
  readonly #usesShim: boolean;
  readonly #note: (line: string) => void;

  constructor(parts: CallParts, usesShim: boolean, note: (line: string) => void) {
    this.#parts = parts;
    this.#usesShim = usesShim;
    this.#note = note;
  }

  /** Makes a call; where it finds no file, asks the daemon and makes it again. */
  *restored<T>(path: string, call: () => T): Steps<T> {
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
    const answer = yield* this.request(() => this.#parts.fetch(path));
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
  *request<T>(send: () => Promise<T> | null): Steps<T> {
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
  *open(path: string, flags: OpenFlags): Steps<OpenFile> {
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
    const file = yield* this.openFound(entry, write);
    const isGone = () => file.inode.nlink === 0;
    if (truncate && !(this.#usesShim && isGone())) this.write(file, () => new Uint8Array(0));
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
  *openFound(entry: Entry, writing: boolean): Steps<OpenFile> {
    const { disk } = this.#parts;
    const file = yield* this.inKernel(() => {
      // It counts as open before the lease is looked at (do_dentry_open in fs/open.c).
      const opened = disk.open(entry, writing);
      disk.breakLease(opened.inode);
      return opened;
    });
    if (file.inode.lease !== null) yield () => file.inode.lease === null;
    return file;
  }

  /** The second half of a system call: soon after the first, though other things come between. */
  *inKernel<T>(work: () => T): Steps<T> {
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

  /** What is at the path. @throws Errno ENOENT when nothing is. */
  find(path: string): Entry {
    const entry = this.#parts.disk.find(path);
    if (entry === null) throw new Errno(ENOENT);
    return entry;
  }

  /** Changes the bytes of an open file. @param silently Its times stay, as with a mapped page. */
  write(
    file: OpenFile,
    change: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>,
    silently = false,
  ): void {
    this.apply(file.entry, this.logicalOf(file.entry), change, silently);
  }

  /** The change of the bytes on disk, and of what p4d believes: the same on both. */
  apply(
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

  /** What p4d believes to be there; null for what it does not know. */
  logicalOf(entry: Entry): LogicalFile | null {
    return (entry.target as OpenFile["inode"]).logical;
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
