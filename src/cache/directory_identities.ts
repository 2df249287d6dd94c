/**
 * Knows directories again that were renamed while nobody watched: by what the filesystem calls them (file
 * handle and filesystem id), which a rename does not change.
 *
 * Without this, evicted files of a directory that was renamed while the daemon was down, or whose event
 * was lost, would be looked for under the new name, and stored under the old one.
 *
 * What a directory is called is read from the disk, where a rename may be ahead of its event. So what was
 * read counts only when, up to the events of that moment, no rename came in since before it was read:
 * else another directory, made under the old name, would be taken for the one that is away.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Manifest } from "../manifest/manifest.ts";
import { describeError } from "../observe/logging.ts";
import { type DepotPath, directoryOf, displayPath } from "../depot_path.ts";
import { DirectoryNotes } from "./directory_notes.ts";
import { RenameSearch } from "./rename_search.ts";
import { areInTheWay, type Moved, ownMoves } from "./unseen_moves.ts";

/** Wait before a comparison that failed is made again, ms. */
const RETRY_MS = 5_000;

/** Staged changes above which a walk waits for the manifest (P5). */
const MAX_PENDING = 20_000;

/** Parts it works on. */
export interface DirectoryIdentitiesParts {
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly isExcluded: (path: string) => boolean;
  readonly log: Logger;
  /** Resolves when every event of the depot before the call has been taken in. */
  readonly upToDate: () => Promise<void>;
  /** Renames taken in so far. */
  readonly renamesSeen: () => number;
  /**
   * Takes in a rename that nobody told, if nothing came before it.
   * @param isStill Asked when it is its turn.
   * @returns Whether it was taken in.
   */
  readonly onRenamed: (
    from: DepotPath,
    to: DepotPath,
    isStill: () => boolean,
  ) => Promise<boolean>;
}

/** Where the directories were at a moment. */
interface Look {
  readonly moves: readonly Moved[];
  /** Renames taken in by then. */
  readonly renamesSeen: number;
}

/** What a directory was found to be, when so many renames had been taken in. */
export interface Found {
  readonly dir: DepotPath;
  /** Null: the depot itself, or the filesystem does not say, or it is not there. */
  readonly identity: string | null;
  /** Whether nothing is to be noted of it. */
  readonly isKnown: boolean;
  readonly renamesSeen: number;
}

/** See the module's description. */
export class DirectoryIdentities {
  readonly #parts: DirectoryIdentitiesParts;
  readonly #notes: DirectoryNotes;
  readonly #search: RenameSearch;
  #comparing: Promise<void> | null = null;
  #learning: Promise<void> = Promise.resolve();
  #places = 0;
  /** Comparisons that bring files back when they are through. */
  #bringing = 0;
  readonly #abort = new AbortController();

  constructor(parts: DirectoryIdentitiesParts) {
    this.#parts = parts;
    this.#notes = new DirectoryNotes(parts.manifest);
    this.#search = new RenameSearch(parts.manifest);
  }

  /** Ends what is in progress, and waits for that. */
  async stop(): Promise<void> {
    this.#abort.abort();
    await this.settled();
    await this.learned();
  }

  get #stopped(): boolean {
    return this.#abort.signal.aborted;
  }

  /** Looks at the directory of a file that is about to be evicted. */
  find(dir: DepotPath): Found {
    const { files, renamesSeen } = this.#parts;
    // What is there, not what is known: its event may not have come yet, and the file goes back into the
    // directory that it is taken from.
    const identity = dir === "" ? null : files.identity(dir);
    const isKnown = dir === "" || (identity !== null && this.#notes.known(dir) === identity);
    return { dir, identity, isKnown, renamesSeen: renamesSeen() };
  }

  /**
   * Notes it with that eviction's commit, when every event before {@link find} has been taken in.
   * @returns Whether it is known; else the file must stay.
   */
  remember({ dir, identity, isKnown, renamesSeen }: Found): boolean {
    if (renamesSeen !== this.#parts.renamesSeen()) return false;
    if (isKnown) return true;
    const { files } = this.#parts;
    // Where the filesystem does not say; else it was away when it was looked at.
    if (identity === null) return files.stat(dir) !== null && files.identity(dir) === null;
    const known = this.#notes.known(dir);
    if (known === identity) return true;
    // One of the two was renamed unseen: a comparison takes that in.
    if (known !== null || this.#isElsewhere(identity)) return false;
    this.#notes.note(dir, identity);
    return true;
  }

  /** Whether the directory is known under a path where it no longer is. */
  #isElsewhere(identity: string): boolean {
    const path = this.pathOf(identity);
    return path !== null && this.#parts.files.identity(path) !== identity;
  }

  /** See {@link DirectoryNotes.pathOf}. */
  pathOf(identity: string): DepotPath | null {
    return this.#notes.pathOf(identity);
  }

  /**
   * Resolves when it is known which directory a path is in, whatever was renamed while nobody watched, and
   * when no file may come back there that waits for that.
   */
  async whereabouts(path: DepotPath): Promise<void> {
    if (!this.isComparing) return;
    if (this.#bringing > 0 || !this.#isHome(path)) await this.settled();
  }

  /** Whether the path's directory surely is the one of which it is known what is stored under its name. */
  #isHome(path: DepotPath): boolean {
    const dir = directoryOf(path);
    if (dir === "") return true;
    const known = this.#notes.known(dir);
    return known !== null && known === this.#parts.files.identity(dir);
  }

  /**
   * Another directory came to the path: what was known there went unseen, and is elsewhere.
   * @returns A name for it until {@link compare} finds it; null: nothing was known.
   */
  async displaced(to: DepotPath): Promise<DepotPath | null> {
    return (await this.#notes.below(to)).length === 0 ? null : this.#place();
  }

  /** A name that no directory has. */
  #place(): DepotPath {
    return `p4cache-renamed-${Date.now()}-${this.#places++}` as DepotPath;
  }

  /** Whether it is not known yet where every directory is. */
  get isComparing(): boolean {
    return this.#comparing !== null;
  }

  /** A file came to the path, and is about to be recorded. */
  comes(path: DepotPath): void {
    if (this.isComparing) this.#search.takesBack(path);
  }

  /** A file of the path was deleted, as somebody told. */
  deleted(path: DepotPath): void {
    if (this.isComparing) this.#search.deleted(path);
  }

  /** A directory was renamed: what is known moves with it. */
  async moved(from: DepotPath, to: DepotPath): Promise<void> {
    for (const [path, identity] of await this.#notes.below(from)) {
      this.#notes.move(path, to + path.slice(from.length) as DepotPath, identity);
    }
  }

  /** A directory left the depot, or was removed: should it come back, it is a new one. */
  async gone(dir: DepotPath): Promise<void> {
    // The one that is known may be elsewhere: what went had come in its place, while nobody watched.
    if (this.isComparing) return;
    for (const [path, identity] of await this.#notes.below(dir)) {
      // Another directory may be there by now.
      if (this.#parts.files.identity(path) === identity) continue;
      this.#notes.forget(path, identity);
    }
  }

  /** Resolves when no comparison is in progress. */
  async settled(): Promise<void> {
    await this.#comparing?.catch(() => {});
  }

  /** Resolves when it is noted what every directory is, where the last comparison came to its end. */
  async learned(): Promise<void> {
    await this.#learning;
  }

  /**
   * Looks for directories that are not where they were, and has their renames taken in. No upload may
   * begin meanwhile: a new file under an old name would replace the only copy of a renamed one. What every
   * directory is, is noted afterwards, for which nobody has to wait.
   * @param bringBack Done before anybody who waits for the comparison goes on.
   */
  compare(bringBack: (() => Promise<void>) | null = null): Promise<void> {
    if (bringBack !== null) this.#bringing++;
    const compared = Promise.all([this.#comparing]).then(() => this.#compare())
      .then(() => bringBack?.())
      .finally(() => {
        if (bringBack !== null) this.#bringing--;
        // Else what was lost since is searched for next.
        if (this.#comparing !== compared) return;
        this.#comparing = null;
        if (!this.#stopped) this.#search.end();
      });
    this.#comparing = compared;
    compared.then(() => this.#learning = this.#learning.then(() => this.#learn()), () => {});
    return compared;
  }

  /** Until it is through: before that nobody can say that an evicted file is absent (P3). */
  async #compare(): Promise<void> {
    for (let isThrough = false; !isThrough && !this.#stopped;) {
      try {
        isThrough = await this.#compareOnce();
      } catch (error) {
        const why = describeError(error);
        this.#parts.log.error(`Cannot look for renamed directories, will be tried again: ${why}`);
        await delay(RETRY_MS, { signal: this.#abort.signal }).catch(() => {});
      }
    }
  }

  /** Whether every directory is where it is known to be. */
  async #compareOnce(): Promise<boolean> {
    await this.#parts.manifest.commit();
    if (this.#notes.isEmpty) return true;
    const { moves, renamesSeen } = await this.#look();
    await this.#takeIn(moves, renamesSeen);
    return moves.length === 0;
  }

  /** Takes the renames in, as long as nobody tells of another one: that may have come before or after. */
  async #takeIn(moves: readonly Moved[], renamesSeen: number): Promise<void> {
    const { log, onRenamed } = this.#parts;
    let seen = renamesSeen;
    const isStill = () => !this.#stopped && this.#parts.renamesSeen() === seen;
    // Parents come first: what is below them has moved with them then.
    for (const { identity, to } of areInTheWay(moves) ? this.#aside(moves) : moves) {
      const from = this.pathOf(identity);
      if (from === null || from === to) continue;
      log.info(`${displayPath(from)} was renamed to ${displayPath(to)} while nobody watched`);
      if (!await onRenamed(from, to, isStill)) return;
      seen = this.#parts.renamesSeen();
    }
  }

  /** Directories that took each other's places: each goes aside first, so that none meets another. */
  #aside(moves: readonly Moved[]): Moved[] {
    const places = moves.map((move) => ({ ...move, to: this.#place() }));
    return [...places, ...moves];
  }

  /** Finds directories that are not where they are known to be, though every event was taken in. */
  async #look(): Promise<Look> {
    const { files, upToDate, renamesSeen } = this.#parts;
    for (;;) {
      const seen = renamesSeen();
      const found: Moved[] = [];
      await this.#walk((page) => {
        for (const { path, identity } of page) {
          const from = this.pathOf(identity) ?? path;
          if (from !== path) found.push({ identity, from, to: path });
        }
      });
      await upToDate();
      if (renamesSeen() !== seen && !this.#stopped) continue;
      // One that is at its old place too is mounted in two places.
      const moves = ownMoves(found).filter(({ identity, from }) =>
        files.identity(from) !== identity
      );
      return { moves, renamesSeen: seen };
    }
  }

  /** Notes what every directory is. Never throws. */
  async #learn(): Promise<void> {
    try {
      await this.#noteAll();
    } catch (error) {
      this.#parts.log.error(`Cannot note what the directories are: ${describeError(error)}`);
    }
  }

  async #noteAll(): Promise<void> {
    const { upToDate, renamesSeen } = this.#parts;
    for (let isSure = false; !isSure && !this.#stopped;) {
      isSure = true;
      let seen = renamesSeen();
      const displaced = new Set<string>();
      await this.#walk(async (found) => {
        const changed = found.filter(({ path, identity }) => this.#notes.known(path) !== identity);
        if (changed.length === 0) return;
        await upToDate();
        if (renamesSeen() === seen) {
          for (const { path, identity } of changed) {
            const before = this.#notes.known(path);
            // One that is known elsewhere was renamed unseen: the next comparison takes that in.
            if (this.pathOf(identity) !== null) continue;
            // So, perhaps, was the one that is known here.
            if (before === null) this.#notes.note(path, identity);
            else displaced.add(before);
          }
        } else isSure = false;
        seen = renamesSeen();
      });
      if (displaced.size > 0 && isSure) isSure = !await this.#forgetRemoved(displaced);
    }
  }

  /** Forgets those of the directories that are nowhere; says whether there was one. */
  async #forgetRemoved(identities: Set<string>): Promise<boolean> {
    const { upToDate, renamesSeen } = this.#parts;
    const seen = renamesSeen();
    const removed = new Set(identities);
    await this.#walk((found) => {
      for (const { identity } of found) removed.delete(identity);
    });
    await upToDate();
    if (renamesSeen() !== seen || this.#stopped) return true;
    for (const identity of removed) this.#notes.forget(this.pathOf(identity), identity);
    return removed.size > 0;
  }

  async #walk(
    look: (found: { path: DepotPath; identity: string }[]) => Promise<void> | void,
  ): Promise<void> {
    const { files, manifest, isExcluded } = this.#parts;
    const walk = files.walkDirectories();
    try {
      for (;;) {
        const records = await walk.next();
        if (records === null || this.#stopped) return;
        const found: { path: DepotPath; identity: string }[] = [];
        for (const { kind, path } of records) {
          if (kind !== "directory" || isExcluded(path + "/")) continue;
          const identity = files.identity(path);
          if (identity !== null) found.push({ path, identity });
        }
        await look(found);
        if (manifest.pending > MAX_PENDING) await manifest.commit();
      }
    } finally {
      walk.close();
    }
  }
}
