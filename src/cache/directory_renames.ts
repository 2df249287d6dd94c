/**
 * Carries directory renames out in storage.
 *
 * After `mv old new` the files on disk are at their new paths, but evicted ones are only in the bucket,
 * under their old keys, and p4d will ask for the new ones. So each object below `old/` is copied, on the
 * server, to its new key, and its old path gets a tombstone. A restore that comes before that has its one
 * object copied first. Files on disk are tracked under their new paths at once; their uploads become
 * copies where possible (`moved_files.ts`).
 *
 * A rename is recorded durably before anything follows from it (`rename_log.ts`); renames are carried out
 * in their order. Renames and tombstones take their numbers from one count, which says what came first:
 * seconds do not, where directories change places. Below, S and D are an object's old and new path.
 *
 * While a rename waits, names below its old directory mean in storage what they meant before it: nothing is
 * uploaded there, and whoever has something to do at a name does first what earlier renames do there.
 *
 * Interleavings, and why nothing is lost (P1; tests/cache/directory_renames_test.ts forces them)
 *   1. A new file is written at S: S's object may be the only copy of D. No upload begins below the old
 *      directory until the rename is carried out ({@link DirectoryRenames.isHeld}).
 *   2. A new file is at D, or was, was uploaded and evicted: it is newer. An object at D without
 *      tombstone is never overwritten; both objects stay, and the log says so.
 *   3. D is tombstoned since before the rename (it was deleted, or moved away by an earlier rename): the
 *      object is copied over it. Since after the rename: D was deleted, nothing is copied.
 *   4. S is tombstoned since before the rename: it was deleted, and stays so under the new name. Those
 *      are noted with the rename, since a new file at S clears the tombstone. The notes are durable before
 *      the rename is: a crash between leaves a rename that nobody told.
 *   5. A chain, `mv a b; mv b c`: the object goes through `b/f`, which is free in storage until the second
 *      rename is carried out, whatever comes to `b/f` on disk. What was at `b/f` between the renames counts
 *      instead of 2 and 3, and the second one knows it: deleted then, its note is younger than the first
 *      rename; on disk then, it went with its record; stored then, there is an object without a note.
 *   6. The disk is ahead of the events: a file at `b/f` may have come after a second rename that nobody told
 *      yet. So a file at D counts only when, up to the events of that moment, no rename came in, and no
 *      search for renames that nobody will tell of goes on, unless D's directory is the known one.
 *   7. A chain whose second rename comes while an object is copied to `b/f`: it arrives there, and the
 *      second one takes it along, unless there is by now what 5 says.
 *   8. `mv a x; mv b a; mv x b`, with any part of it waiting: an object comes to a name only after those
 *      that earlier renames took away from it, or brought to it and what then went, so none is overwritten.
 *   9. An object that was moved away is not taken for one that a later rename of the same name has to
 *      move: what is done with is noted for those too. Nor is one that a later rename brought, on demand,
 *      taken for an earlier one's: that those have nothing at the name is noted first, durably.
 *  10. A crash: renames and notes are in the manifest; a copy that was made is found and not made again.
 *      Records of files that have not moved with their directory yet do so at the next start.
 *  11. An upload of D during the copy waits, and comes after it; the copy waits for one that has begun, and
 *      for a removal. One that was on its way to S when the rename came is of a file on disk, whose record
 *      moved: nothing is taken along from S then.
 *  12. D's directory was another one, which went unseen: what is known of its evicted files goes aside, and
 *      what was on disk is noted as gone, both before this rename: nothing of that is newer than it.
 *  13. `mv b e; mv e b`, the second unseen: a stored file of b is on disk at S, and takes nothing to D.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { counted } from "../counted.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import { pause } from "../storage/backoff.ts";
import type { Backend } from "../storage/backend.ts";
import { type DepotPath, displayPath, pathProblem } from "../depot_path.ts";
import { copyObject } from "./object_copy.ts";
import { describe, leftBy, newPath, oldPath, type Rename, RenameLog } from "./rename_log.ts";
import { moveRecords, type MoveRecordsParts } from "./renamed_records.ts";

/** Objects copied at once. */
const AT_ONCE = 8;

/** Wait before a rename that could not be carried out is gone on with, ms. */
const RETRY_MS = 5_000;

/** Wait before it is looked again whether a name is free, ms. */
const BUSY_MS = 20;

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

/** Parts it works on. */
export interface DirectoryRenamesParts extends MoveRecordsParts {
  readonly primary: Backend;
  readonly secondary: Backend | null;
  readonly log: Logger;
  /** Resolves when every event of the depot before the call has been taken in. */
  readonly upToDate: () => Promise<void>;
  /** Resolves when it is known which directory the path is in, whatever was renamed while nobody watched. */
  readonly whereabouts: (path: DepotPath) => Promise<void>;
  /** What is known of the directory, and of those below, is under its new path from now on. */
  readonly onMoved: (from: DepotPath, to: DepotPath) => Promise<void>;
  readonly onCopied: () => void;
}

/** See the module's description. */
export class DirectoryRenames {
  readonly #parts: DirectoryRenamesParts;
  readonly #log: RenameLog;
  readonly #abort = new AbortController();
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  #count = 0;
  /** Objects being moved: rename and old path. */
  readonly #moving = new Map<string, Promise<boolean>>();
  #running: Promise<void> | null = null;
  /** The rename that is being taken in, or was last. */
  #begun: Promise<void> = Promise.resolve();

  constructor(parts: DirectoryRenamesParts) {
    this.#parts = parts;
    this.#log = new RenameLog(parts.manifest);
  }

  /** Reads the renames that an earlier daemon left, before anything else runs. */
  async load(): Promise<void> {
    await this.#log.load();
    for (const rename of this.#log.pending) {
      await this.#track(rename);
      await moveRecords(this.#parts, this.#log, rename);
    }
  }

  /** Has the directories that are known move with it, unless they have. */
  async #track(rename: Rename): Promise<void> {
    if (this.#log.isTracked(rename)) return;
    const [from, to] = [rename.from, rename.to].map((dir) => dir.slice(0, -1) as DepotPath);
    await this.#parts.onMoved(from!, to!);
    this.#log.noteTracked(rename);
  }

  /** Carries out what is left. */
  start(): void {
    if (this.pending > 0) this.#running ??= this.#run();
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
    return this.#log.pending.length;
  }

  /** Whether uploads to the path must wait: its object may be the only copy of a renamed file. */
  isHeld(path: string): boolean {
    return this.#log.pending.some(({ from }) => path.startsWith(from));
  }

  /** See {@link RenameLog.isAway}. */
  isAway(path: string): boolean {
    return this.#log.isAway(path);
  }

  /**
   * Takes in a rename that happened; the files on disk are tracked under their new paths then.
   * @param isFound Nobody told of it: it was found by a search.
   */
  begin(from: DepotPath, to: DepotPath, isFound = false): Promise<void> {
    return this.#begun = this.#begin(from, to, isFound);
  }

  async #begin(from: DepotPath, to: DepotPath, isFound: boolean): Promise<void> {
    const { manifest, activity, nowSeconds } = this.#parts;
    this.#count++;
    const rename = this.#log.add(from, to, nowSeconds());
    // A file in the trash goes back to where its directory is by now.
    for (const eviction of [...activity.evictions.values()]) {
      if (!eviction.path.startsWith(rename.from)) continue;
      activity.moveEviction(eviction, newPath(rename, eviction.path));
      const { trashId, path, directory } = eviction;
      if (trashId !== null) manifest.trash.move(trashId, path, directory);
    }
    await this.#log.record(rename, isFound);
    await this.#track(rename);
    await moveRecords(this.#parts, this.#log, rename);
  }

  /**
   * Makes sure that the object of a path that is not on disk is under that path.
   * @returns False when the path was renamed away, and nothing came in its place.
   * @throws StorageError when an object could not be copied.
   */
  async bring(path: DepotPath): Promise<boolean> {
    const renames = this.#log.pending;
    if (renames.length === 0) return true;
    return !this.isAway(path) && await this.#settle(path, renames, new Map());
  }

  /** Does with the objects of the name what the renames do; says whether one may be there after them. */
  async #settle(path: DepotPath, renames: readonly Rename[], carried: Carried): Promise<boolean> {
    let mayBeThere = true;
    for (const [i, rename] of renames.entries()) {
      const earlier = renames.slice(0, i);
      if (path.startsWith(rename.to)) {
        const came = await this.#carry(rename, oldPath(rename, path), earlier, carried);
        mayBeThere ||= came;
      } else if (path.startsWith(rename.from)) {
        await this.#carry(rename, path, earlier, carried);
        mayBeThere = false;
      }
    }
    return mayBeThere;
  }

  /** {@link #move} when all is done that earlier renames do at both names; each once in one call. */
  #carry(
    rename: Rename,
    from: DepotPath,
    earlier: readonly Rename[],
    carried: Carried,
  ): Promise<boolean> {
    const id = rename.key + from;
    const known = carried.get(id);
    if (known !== undefined) return known;
    const work = (async () => {
      // What was gone before may be brought there by an earlier rename.
      if (this.#log.goneSince(rename, from) !== rename.order) {
        await this.#settle(from, earlier, carried);
        await this.#settle(newPath(rename, from), earlier, carried);
      }
      return await this.#move(rename, from);
    })();
    carried.set(id, work);
    return work;
  }

  async #run(): Promise<void> {
    const { log } = this.#parts;
    for (;;) {
      const [rename] = this.#log.pending;
      if (rename === undefined || this.#abort.signal.aborted) break;
      try {
        // It may be on its way into the log still; what fails there is told by the intake.
        await this.#begun.catch(() => {});
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
    // Unless an error came between.
    await moveRecords(this.#parts, this.#log, rename);
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
    await this.#log.forget(rename);
    log.info(`Carried out ${describe(rename)}: ${counted(objects, "object")} looked at`);
    onDirty(rename.to as DepotPath);
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
    const { activity, isExcluded, log, onDirty } = this.#parts;
    if (!this.#log.pending.includes(rename)) return true; // carried out since
    const gone = this.#log.goneSince(rename, from);
    if (gone !== null) return gone === rename.order;
    const to = newPath(rename, from);
    if (pathProblem(to) !== null || isExcluded(to)) {
      this.#log.noteDone(rename, from);
      const line = this.#limited("A renamed file stays under its old name in storage");
      if (line !== null) log.warning(`${line}: ${displayPath(to)} cannot be a cached file`);
      return false;
    }
    for (;;) {
      if (!this.#isTaken(rename, to)) {
        if (!this.#isBusy(to)) break;
        await pause(BUSY_MS, this.#abort.signal);
        this.#abort.signal.throwIfAborted();
        continue;
      }
      const seen = this.#count;
      if (!this.#isGone(rename, to)) {
        await this.#parts.upToDate();
        await this.#parts.whereabouts(to);
      }
      if (this.#count !== seen) continue; // the file at the new path may have come after that rename
      if (!this.#log.pending.includes(rename)) return true;
      this.#leave(rename, from);
      return true;
    }
    activity.objects.add(to);
    try {
      // Before the object is there: an earlier rename of that name would take it for its own.
      if (this.#log.noteSettled(rename, to)) await this.#parts.manifest.commit();
      const mayBeTaken = this.#goneThere(rename, to) === null;
      const outcome = await copyObject(this.#parts, from, to, mayBeTaken, this.#abort.signal);
      if (outcome === "absent") return false;
      if (outcome === "copied") this.#arrived(rename, to);
      this.#leave(rename, from, outcome === "taken");
      return true;
    } finally {
      activity.objects.delete(to);
      onDirty(to);
    }
  }

  /** Whether something that began before the rename still puts or removes the object of the new path. */
  #isBusy(to: DepotPath): boolean {
    const { activity } = this.#parts;
    return activity.uploads.has(to) || activity.objects.has(to);
  }

  /** Whether a newer file came to the new path, or went from it. */
  #isTaken(rename: Rename, to: DepotPath): boolean {
    return this.#isGone(rename, to) || this.#isHere(rename, to);
  }

  #isGone(rename: Rename, to: DepotPath): boolean {
    return (this.#goneThere(rename, to) ?? 0) > rename.order;
  }

  /** Since when nothing was at the new path: now, or when a later rename took that away; null: unknown. */
  #goneThere(rename: Rename, to: DepotPath): number | null {
    const next = this.#log.nextFrom(rename, to);
    if (next !== null) return this.#log.goneSince(next, to);
    return this.#parts.manifest.tombstone(to)?.order ?? null;
  }

  /** Whether a file is at the new path; what is there after a later rename took it away is another's. */
  #isHere(rename: Rename, to: DepotPath): boolean {
    const { manifest, files } = this.#parts;
    if (this.#log.nextFrom(rename, to) !== null) return false;
    return manifest.get(to) !== null || files.stat(to) !== null;
  }

  #arrived(rename: Rename, to: DepotPath): void {
    const { manifest } = this.#parts;
    this.#log.noteArrival(rename, to);
    const now = manifest.tombstone(to);
    if (now !== null && now.order <= rename.order) manifest.setTombstone(to, null);
  }

  /**
   * What is stored under the old path is no longer its file.
   * @param isKept Its object is never removed: as if it had been.
   */
  #leave(rename: Rename, from: DepotPath, isKept = false): void {
    const { manifest } = this.#parts;
    this.#log.noteDone(rename, from);
    if (manifest.get(from) !== null || manifest.isTombstoned(from)) return;
    manifest.setTombstone(from, { ...leftBy(rename), collected: isKept });
  }
}

/** What one call has done already: rename and old path. */
type Carried = Map<string, Promise<boolean>>;
