/**
 * What programs do to the depot: p4d under the shim, and others without it. Each yield is a moment in
 * which anything else may happen. What the shim does is in `program_calls.ts`.
 *
 * @module
 */

import { EIO, ENOENT } from "../../ffi/errno.ts";
import type { UnlinkAnswer } from "../../src/server/shim_server.ts";
import { Errno, type OpenFile } from "./world/disk.ts";
import type { Steps } from "./world/scheduler.ts";
import { type CallParts, ProgramCalls, TRIES } from "./program_calls.ts";
import type { Random } from "./random.ts";

/** Files of which one in so many is larger than what is read and fetched at once. */
const LARGE_IN = 80;
const LARGE_BYTES = 1024 * 1024 + 1;

/** What programs work on. */
export interface ProgramParts extends CallParts {
  readonly random: Random;
  /** The shim's request; null while nobody listens. */
  readonly unlink: (path: string) => Promise<UnlinkAnswer> | null;
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

/** One program; `usesShim` false: it knows nothing of the cache. */
export class Program {
  readonly #parts: ProgramParts;
  readonly #name: string;
  readonly #usesShim: boolean;
  readonly #calls: ProgramCalls;
  #serial = 0;

  constructor(parts: ProgramParts, name: string, usesShim: boolean) {
    this.#parts = parts;
    this.#name = name;
    this.#usesShim = usesShim;
    this.#calls = new ProgramCalls(parts, usesShim, (line) => this.#note(line));
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
    const file = yield* this.#calls.open(path, {});
    yield* this.#hold();
    this.#parts.disk.close(file);
  }

  /** Keeps a file open, for a moment or for long. */
  *#hold(): Steps<void> {
    const { random } = this.#parts;
    for (let i = random.below(random.oneIn(5) ? 150 : 4); i > 0; i--) yield null;
  }

  *#writeWhole(path: string): Steps<void> {
    const file = yield* this.#calls.open(path, { write: true, create: true, truncate: true });
    yield* this.#writeRest(file);
    this.#close(file);
  }

  *#append(path: string): Steps<void> {
    const file = yield* this.#calls.open(path, { write: true, create: this.#usesShim });
    yield* this.#hold();
    yield* this.#writeRest(file);
    this.#close(file);
  }

  /** Other bytes, the same length, often in the same tick of the clock. */
  *#rewriteSame(path: string): Steps<void> {
    const file = yield* this.#calls.open(path, { write: true });
    yield* this.#hold();
    const bytes = this.#bytes(file.inode.content.length);
    this.#calls.write(file, () => bytes);
    yield null;
    this.#close(file);
  }

  /** Other bytes, the same length, and the time that the file had before: only the ctime tells. */
  *#rewriteInTime(path: string): Steps<void> {
    const { disk } = this.#parts;
    const file = yield* this.#calls.open(path, { write: true });
    const { mtimeNs, content } = file.inode;
    const bytes = this.#bytes(content.length);
    this.#calls.write(file, () => bytes);
    yield null;
    // Of other names no event tells: see docs, "taken for granted".
    const isOnlyName = file.inode.nlink === 1 && disk.find(path) === file.entry;
    if (isOnlyName) disk.setTime(file.entry, mtimeNs);
    yield null;
    this.#close(file);
  }

  /** A temporary beside it, renamed over it when whole, now or later. */
  *#replace(path: string): Steps<void> {
    const { disk, random, ledger } = this.#parts;
    const temporary = random.oneIn(2)
      ? `${path}.${this.#name}`
      : path.replace(/[^/]*$/, `tmp.${this.#name.length}.${this.#name.charCodeAt(1)}`);
    const file = yield* this.#calls.open(temporary, { write: true, create: true, truncate: true });
    const there = disk.file(path);
    if (there !== null && random.oneIn(4)) this.#makeAlike(file, there);
    else yield* this.#writeRest(file);
    this.#close(file);
    for (let i = random.oneIn(3) ? 200 : random.below(4); i > 0; i--) yield null;
    yield* this.#calls.restored(temporary, () => {
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
    this.#calls.write(file, () => bytes);
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
    const entry = yield* this.#calls.restored(path, () => this.#calls.find(path));
    yield* this.#calls.inKernel(() => {
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
      const answer = yield* this.#calls.request(() => this.#parts.unlink(path));
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
    const entry = yield* this.#calls.restored(path, () => this.#calls.find(path));
    const file = yield* this.#calls.openFound(entry, true);
    const length = random.below(40);
    this.#note(`truncate ${path} to ${length}`);
    this.#calls.write(file, (bytes) => {
      const content = new Uint8Array(length);
      content.set(bytes.subarray(0, length));
      return content;
    });
    disk.release(file);
  }

  /** Stores through a mapping after the close; the event comes when the mapping goes. */
  *#map(path: string): Steps<void> {
    const { random } = this.#parts;
    const file = yield* this.#calls.open(path, { write: true });
    let first = true;
    for (let i = 1 + random.below(4); i > 0; i--) {
      yield null;
      const bytes = this.#bytes(file.inode.content.length);
      this.#calls.write(file, () => bytes, !first);
      first = false;
    }
    yield null;
    this.#close(file);
  }

  *#chmod(path: string): Steps<void> {
    const { disk, random } = this.#parts;
    const entry = yield* this.#calls.restored(path, () => this.#calls.find(path));
    const mode = random.pick([0o444, 0o644, 0o600]);
    yield* this.#calls.inKernel(() => {
      this.#note(`chmod ${path} ${mode.toString(8)}`);
      const logical = this.#calls.logicalOf(entry);
      if (logical !== null) logical.mode = mode;
      disk.setMode(entry, mode);
    });
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
      this.#calls.write(file, (bytes) => {
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

  #close(file: OpenFile): void {
    const { disk } = this.#parts;
    this.#note(`close ${disk.pathOf(file.entry)} (${file.inode.content.length} bytes)`);
    disk.close(file);
  }
}
