/**
 * Carries directory renames out in storage.
 *
 * After `mv old new` the files on disk are at their new paths, but evicted ones are only in the bucket,
 * under their old keys, and p4d will ask for the new ones. So each object below `old/` is copied, on the
 * server, to its new key, and its old path gets a tombstone. A restore that comes before that has its one
 * object copied first. Files on disk are tracked under their new paths at once; their uploads become
 * copies where possible (`moved_files.ts`).
 *
 * A rename is recorded durably before anything follows from it; renames are carried out in their order.
 * Renames and tombstones take their numbers from one count, which says what came first: seconds do not,
 * where directories change places. Below, S and D are an object's old and new path.
 *
 * Interleavings, and why nothing is lost (P1; tests/cache/directory_renames_test.ts forces them)
 *   1. A new file is written at S: S's object may be the only copy of D. No upload begins below the old
 *      directory until the rename is carried out ({@link DirectoryRenames.isHeld}).
 *   2. A new file is at D, or was, was uploaded and evicted: it is newer. An object at D without
 *      tombstone is never overwritten; both objects stay, and the log says so.
 *   3. D is tombstoned since before the rename (it was deleted, or moved away by an earlier rename): the
 *      object is copied over it. Since after the rename: D was deleted, nothing is copied.
 *   4. S is tombstoned since before the rename: it was deleted, and stays so under the new name. Those
 *      are noted with the rename, since a new file at S clears the tombstone.
 *   5. `mv a b; mv b a`, or a chain: a restore looks through the renames from the last to the first.
 *   6. A crash: the rename is in the manifest; a copy that was made is found and not made again.
 *   7. `mv a b; mv b c` before the first is carried out, and a new file comes to `b/f` then: it keeps
 *      `a/f` from going through `b`. The object stays at `a/f` for good, and the log says so.
 *   8. An upload of D during the copy waits, and comes after it.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import type { DepotFiles } from "../../ffi/files.ts";
import { counted } from "../counted.ts";
import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Tombstone } from "../manifest/schema.ts";
import { seen } from "../manifest/transitions.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import { pause } from "../storage/backoff.ts";
import type { Backend } from "../storage/backend.ts";
import type { Activity } from "./activity.ts";
import { type DepotPath, displayPath, pathProblem, pathToBytes } from "./depot_path.ts";
import type { MovedFiles } from "./moved_files.ts";
import { copyObject } from "./object_copy.ts";

/** Objects copied at once. */
const AT_ONCE = 8;

/** Wait before a rename that could not be carried out is gone on with, ms. */
const RETRY_MS = 5_000;

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

/** Digits of a rename's number in its key: byte order is their order. */
const KEY_DIGITS = 16;

/** Staged changes above which the manifest is waited for (P5). */
const MAX_PENDING = 20_000;

/** Parts it works on. */
export interface DirectoryRenamesParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity: Activity;
  readonly moved: MovedFiles;
  readonly primary: Backend;
  readonly secondary: Backend | null;
  readonly isExcluded: (path: string) => boolean;
  readonly log: Logger;
  readonly nowSeconds: () => number;
  /** A file is dirty, or its upload may have waited for us. */
  readonly onDirty: (path: DepotPath) => void;
  readonly onCopied: () => void;
}

/** One rename that is not carried out yet. */
interface Rename {
  readonly key: string;
  /** Both with "/" at the end. */
  readonly from: string;
  readonly to: string;
  readonly atSeconds: number;
  /** Its place among renames and deletions; also in its key. */
  readonly order: number;
}

/** See the module's description. */
export class DirectoryRenames {
  readonly #parts: DirectoryRenamesParts;
  readonly #table: Table;
  readonly #abort = new AbortController();
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  /** In their order. */
  #pending: readonly Rename[] = [];
  #count = 0;
  /** Objects being moved: rename and old path. */
  readonly #moving = new Map<string, Promise<boolean>>();
  #running: Promise<void> | null = null;

  constructor(parts: DirectoryRenamesParts) {
    this.#parts = parts;
    this.#table = parts.manifest.table("renames");
  }

  /** Reads the renames that an earlier daemon left, before anything else runs. */
  async load(): Promise<void> {
    for (let after = "";;) {
      const page = await this.#table.after(after);
      if (page.length === 0) return;
      const found = page.filter(({ key }) => key.length === KEY_DIGITS).map(decode);
      this.#pending = [...this.#pending, ...found];
      after = page.at(-1)!.key;
    }
  }

  /** Carries out what is left. */
  start(): void {
    if (this.#pending.length > 0) this.#running ??= this.#run();
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#running;
  }

  /** Renames taken in since the start. */
  get count(): number {
    return this.#count;
  }

  /** Renames that are not carried out yet. */
  get pending(): number {
    return this.#pending.length;
  }

  /** Whether uploads to the path must wait: its object may be the only copy of a renamed file. */
  isHeld(path: string): boolean {
    return this.#pending.some(({ from }) => path.startsWith(from));
  }

  /** Whether the path was renamed away, and no directory came in its place since. */
  isAway(path: string): boolean {
    const last = this.#pending.findLast(({ from, to }) =>
      path.startsWith(from) || path.startsWith(to)
    );
    return last !== undefined && !path.startsWith(last.to);
  }

  /** What became of a directory under the renames that are not carried out yet. */
  mapped(dir: string): string {
    return this.#pending.reduce(
      (now, { from, to }) =>
        (now + "/").startsWith(from) ? to.slice(0, -1) + now.slice(from.length - 1) : now,
      dir,
    );
  }

  /** Takes in a rename that happened; the files on disk are tracked under their new paths then. */
  async begin(from: DepotPath, to: DepotPath): Promise<void> {
    const { manifest, activity, nowSeconds } = this.#parts;
    this.#count++;
    const order = manifest.nextNumber(), key = String(order).padStart(KEY_DIGITS, "0");
    const rename = { key, from: from + "/", to: to + "/", atSeconds: nowSeconds(), order };
    const earlier = this.#pending;
    this.#pending = [...earlier, rename];
    this.#table.set(key, pathToBytes(`${rename.atSeconds}\0${rename.from}\0${rename.to}`));
    // A file in the trash goes back to where its directory is by now.
    for (const eviction of activity.evictions.values()) {
      if (!eviction.path.startsWith(rename.from)) continue;
      eviction.touched = true;
      eviction.path = newPath(rename, eviction.path);
    }
    await manifest.commit();
    for (let after = rename.from;;) {
      const page = await manifest.tombstonesAfter(after);
      for (const { path } of page) {
        if (!path.startsWith(rename.from)) break;
        // What an earlier rename may still bring there is looked at when that is carried out.
        if (!earlier.some((each) => path.startsWith(each.to))) this.#table.set(key + path, NOTHING);
      }
      if (page.length === 0 || !page.at(-1)!.path.startsWith(rename.from)) break;
      after = page.at(-1)!.path;
    }
    for (let after = rename.from;;) {
      const page = await manifest.pathsAfter(after);
      for (const path of page) {
        if (!path.startsWith(rename.from)) break;
        this.#moveRecord(rename, path);
      }
      if (page.length === 0 || !page.at(-1)!.startsWith(rename.from)) break;
      after = page.at(-1)!;
      if (manifest.pending > MAX_PENDING) await manifest.commit();
    }
  }

  /** A tracked file is now at its new path: dirty there, with a hint where its content is stored. */
  #moveRecord(rename: Rename, from: DepotPath): void {
    const { files, manifest, activity, moved, isExcluded, nowSeconds, onDirty } = this.#parts;
    const record = manifest.get(from);
    if (record === null) return;
    activity.touch(from);
    // In the trash: the evictor records what becomes of it.
    if (activity.evictions.has(from)) return;
    const to = newPath(rename, from);
    if (files.stat(to) === null) {
      // Not moved with its directory: it came to the old name since, or is elsewhere by now.
      if (files.stat(from) === null) manifest.set(from, null);
      return;
    }
    const digest = record.version?.digest ?? "";
    const stored = digest === "" ? moved.get(from) : { path: from, digest };
    moved.forget(from);
    manifest.set(from, null);
    manifest.setTombstone(from, leftBy(rename));
    if (pathProblem(to) !== null || isExcluded(to)) return;
    activity.touch(to);
    const there = manifest.get(to);
    manifest.set(to, seen(there, record.row.size, nowSeconds()));
    // With a record there already an event of the new path came first: its content may be newer.
    if (there === null && stored !== null) moved.note(to, stored);
    onDirty(to);
  }

  /**
   * Makes sure that the object of a path that is not on disk is under that path.
   * @returns False when the path was renamed away, and nothing came in its place.
   * @throws StorageError when an object could not be copied.
   */
  async bring(path: DepotPath): Promise<boolean> {
    return this.#pending.length === 0 || await this.#bring(path, this.#pending);
  }

  async #bring(path: DepotPath, renames: readonly Rename[]): Promise<boolean> {
    for (const [i, rename] of [...renames.entries()].reverse()) {
      if (path.startsWith(rename.to)) {
        const from = oldPath(rename, path);
        const earlier = renames.slice(0, i);
        if (!await this.#bring(from, earlier)) continue;
        await this.#clear(path, earlier);
        if (await this.#move(rename, from)) return true;
      } else if (path.startsWith(rename.from)) {
        return false;
      }
    }
    return true;
  }

  /** Brings the object that an earlier rename took away from the path to where that one took it. */
  async #clear(path: DepotPath, renames: readonly Rename[]): Promise<void> {
    const last = renames.findLastIndex(({ from }) => path.startsWith(from));
    if (last >= 0) await this.#bring(newPath(renames[last]!, path), renames.slice(0, last + 1));
  }

  async #run(): Promise<void> {
    const { log } = this.#parts;
    while (this.#pending.length > 0 && !this.#abort.signal.aborted) {
      const rename = this.#pending[0]!;
      try {
        await this.#carryOut(rename);
      } catch (error) {
        if (this.#abort.signal.aborted) break;
        const line = this.#limited("Cannot carry out a directory rename, will be tried again");
        if (line !== null) log.warning(`${line}: ${describe(rename)}: ${describeError(error)}`);
        await pause(RETRY_MS, this.#abort.signal);
      }
    }
    this.#running = null;
  }

  async #carryOut(rename: Rename): Promise<void> {
    const { primary, secondary, log, onDirty } = this.#parts;
    let objects = 0;
    for (const backend of secondary === null ? [primary] : [primary, secondary]) {
      const moves = new Set<Promise<void>>();
      let failure: unknown = null;
      for await (const { path } of backend.list(rename.from, this.#abort.signal)) {
        if (failure !== null) break;
        const move: Promise<void> = this.#move(rename, path)
          .then(() => {}, (error) => failure ??= error)
          .finally(() => moves.delete(move));
        moves.add(move);
        objects++;
        if (moves.size >= AT_ONCE) await Promise.race(moves);
      }
      await Promise.all(moves);
      if (failure !== null) throw failure;
    }
    await this.#forget(rename);
    log.info(`Carried out ${describe(rename)}: ${counted(objects, "object")} looked at`);
    onDirty(rename.to as DepotPath);
  }

  /** The rename's own row goes last: a crash before it carries everything out again. */
  async #forget(rename: Rename): Promise<void> {
    await this.#parts.manifest.commit();
    for (let after = rename.key;;) {
      const page = await this.#table.after(after);
      const notes = page.filter(({ key }) => key.startsWith(rename.key));
      for (const { key } of notes) this.#table.set(key, null);
      if (notes.length === 0 || notes.length < page.length) break;
      after = page.at(-1)!.key;
    }
    this.#table.set(rename.key, null);
    this.#pending = this.#pending.filter((each) => each !== rename);
  }

  /** Moves one object, once however many ask; says whether a file is at the new path then. */
  #move(rename: Rename, from: DepotPath): Promise<boolean> {
    const id = rename.key + from;
    const running = this.#moving.get(id);
    if (running !== undefined) return running;
    const move = this.#moveObject(rename, from).finally(() => this.#moving.delete(id));
    this.#moving.set(id, move);
    return move;
  }

  async #moveObject(rename: Rename, from: DepotPath): Promise<boolean> {
    const { manifest, activity, files, isExcluded, log, onDirty } = this.#parts;
    if (this.#table.get(rename.key + from) !== null) return false;
    const to = newPath(rename, from);
    const isHere = () => manifest.get(to) !== null || files.stat(to) !== null;
    const left = manifest.tombstone(from);
    // Deleted before the rename; or on disk then, and moved with its record; or carried out already.
    if (left !== null && left.order <= rename.order) {
      return isHere() || manifest.tombstone(to) === null;
    }
    if (pathProblem(to) !== null || isExcluded(to)) {
      const line = this.#limited("A renamed file stays under its old name in storage");
      if (line !== null) log.warning(`${line}: ${displayPath(to)} cannot be a cached file`);
      return false;
    }
    const before = manifest.tombstone(to);
    const isDeleted = before !== null && before.order > rename.order;
    if (isDeleted || isHere()) {
      this.#leave(rename, from, this.#movedOn(rename, to));
      return !isDeleted;
    }
    activity.objects.add(to);
    try {
      const outcome = await copyObject(this.#parts, from, to, before === null, this.#abort.signal);
      if (outcome !== "copied") return outcome === "taken";
      const now = manifest.tombstone(to);
      if (now !== null && now.order <= rename.order) manifest.setTombstone(to, null);
      this.#leave(rename, from);
      return true;
    } finally {
      activity.objects.delete(to);
      onDirty(to);
    }
  }

  /** Whether a later rename, not carried out yet, took the directory of the new path away again. */
  #movedOn({ order }: Rename, to: string): boolean {
    return this.#pending.some((later) => later.order > order && to.startsWith(later.from));
  }

  /**
   * What is stored under the old path is no longer its file.
   * @param isKept Its object may be the only copy of a file, and is never removed: as if it had been.
   */
  #leave(rename: Rename, from: DepotPath, isKept = false): void {
    const { manifest, log } = this.#parts;
    if (manifest.get(from) !== null || manifest.isTombstoned(from)) return;
    manifest.setTombstone(from, { ...leftBy(rename), collected: isKept });
    if (!isKept) return;
    const line = this.#limited("A file stays under its old name in storage");
    const why = "its directory was renamed twice, and another file came to the name between";
    if (line !== null) log.warning(`${line}: ${displayPath(from)}: ${why}`);
  }
}

const NOTHING = new Uint8Array(0);

function newPath(rename: Rename, from: string): DepotPath {
  return rename.to + from.slice(rename.from.length) as DepotPath;
}

function oldPath(rename: Rename, to: string): DepotPath {
  return rename.from + to.slice(rename.to.length) as DepotPath;
}

function decode({ key, value }: { key: string; value: Uint8Array }): Rename {
  const [at, from, to] = String.fromCharCode(...value).split("\0");
  return { key, from: from!, to: to!, atSeconds: Number(at), order: Number(key) };
}

/** What a rename leaves at a file's old path. */
function leftBy({ atSeconds, order }: Rename): Tombstone {
  return { deletedAtSeconds: atSeconds, collected: false, order };
}

function describe({ from, to }: Rename): string {
  return `the rename of ${displayPath(from)} to ${displayPath(to)}`;
}
