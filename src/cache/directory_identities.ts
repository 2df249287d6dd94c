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

import type { DepotFiles } from "../../ffi/files.ts";
import type { Logger } from "@logtape/logtape";
import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { describeError } from "../observe/logging.ts";
import { type DepotPath, displayPath, pathFromBytes, pathToBytes } from "../depot_path.ts";

/** The manifest's database of what each directory is. */
export const IDENTITIES = "directory_identities";

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
  /** Takes in a rename that nobody told. */
  readonly onRenamed: (from: DepotPath, to: DepotPath) => Promise<void>;
}

/** A directory that is not where it was. */
interface Moved {
  readonly from: DepotPath;
  readonly to: DepotPath;
}

/** What a directory was found to be, when so many renames had been taken in. */
export interface Found {
  readonly dir: DepotPath;
  /** Null: nothing is to be noted. */
  readonly identity: string | null;
  readonly renamesSeen: number;
}

/** See the module's description. */
export class DirectoryIdentities {
  readonly #parts: DirectoryIdentitiesParts;
  /** Identity to path, and path to identity. */
  readonly #paths: Table;
  readonly #identities: Table;
  #comparing: Promise<void> | null = null;
  #learning: Promise<void> = Promise.resolve();
  #places = 0;
  #stopped = false;
  /** What the last comparison found. */
  #moves: readonly Moved[] = [];

  constructor(parts: DirectoryIdentitiesParts) {
    this.#parts = parts;
    this.#paths = parts.manifest.table("directory_paths");
    this.#identities = parts.manifest.table(IDENTITIES);
  }

  /** Ends what is in progress, and waits for that. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.settled();
    await this.learned();
  }

  /** Looks at the directory of a file that is about to be evicted. */
  find(dir: DepotPath): Found {
    const { files, renamesSeen } = this.#parts;
    const isKnown = dir === "" || this.#identities.get(dir) !== null;
    return { dir, identity: isKnown ? null : files.identity(dir), renamesSeen: renamesSeen() };
  }

  /**
   * Notes it with that eviction's commit, when every event before {@link find} has been taken in.
   * @returns Whether it is known; else the file must stay.
   */
  remember({ dir, identity, renamesSeen }: Found): boolean {
    if (renamesSeen !== this.#parts.renamesSeen()) return false;
    if (identity !== null) this.#note(dir, identity);
    return true;
  }

  /**
   * Another directory came to the path: what was known there went unseen, and is elsewhere.
   * @returns A name for it until {@link compare} finds it; null: nothing was known.
   */
  async displaced(to: DepotPath): Promise<DepotPath | null> {
    return (await this.#below(to)).length === 0 ? null : this.#place();
  }

  /** A name that no directory has. */
  #place(): DepotPath {
    return `p4cache-renamed-${Date.now()}-${this.#places++}` as DepotPath;
  }

  /** A directory was renamed: what is known moves with it. */
  async moved(from: DepotPath, to: DepotPath): Promise<void> {
    for (const [path, identity] of await this.#below(from)) {
      this.#identities.set(path, null);
      this.#note(to + path.slice(from.length) as DepotPath, identity);
    }
  }

  /** A directory left the depot, or was removed: should it come back, it is a new one. */
  async gone(dir: DepotPath): Promise<void> {
    for (const [path, identity] of await this.#below(dir)) {
      // Another directory may be there by now.
      if (this.#parts.files.identity(path) === identity) continue;
      this.#identities.set(path, null);
      this.#paths.set(identity, null);
    }
  }

  /** Where the renames that the last comparison found left a path. */
  nowAt(path: DepotPath): DepotPath {
    return nowAt(path, this.#moves) as DepotPath;
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
   * @param afterwards Done before anybody who waits for the comparison goes on.
   */
  compare(afterwards: () => Promise<void> = () => Promise.resolve()): Promise<void> {
    const compared = Promise.all([this.#comparing]).then(() => this.#compare()).then(afterwards)
      .finally(() => {
        if (this.#comparing === compared) this.#comparing = null;
      });
    this.#comparing = compared;
    compared.then(() => this.#learning = this.#learning.then(() => this.#learn()), () => {});
    return compared;
  }

  async #compare(): Promise<void> {
    const { log, onRenamed } = this.#parts;
    const moves = await this.#unseenMoves();
    // Parents come first: what is below them has moved with them then.
    const crossing = moves.some(({ to }) => moves.some(({ from }) => isAt(to, from)));
    const steps = crossing ? this.#aside(moves) : moves;
    this.#moves = steps;
    const done: Moved[] = [];
    for (const step of steps) {
      const { from, to } = step;
      if (this.#stopped || nowAt(from, done) === to) continue;
      log.info(`${displayPath(from)} was renamed to ${displayPath(to)} while nobody watched`);
      await onRenamed(from, to);
      done.push(step);
    }
  }

  /** Directories that took each other's places: each goes aside first, so that none meets another. */
  #aside(moves: readonly Moved[]): Moved[] {
    const steps = moves.map(({ from, to }) => ({ from, place: this.#place(), to }));
    return [
      ...steps.map(({ from, place }) => ({ from, to: place })),
      ...steps.map(({ place, to }) => ({ from: place, to })),
    ];
  }

  /** Directories that are not where they are known to be, though every event was taken in. */
  async #unseenMoves(): Promise<Moved[]> {
    const { upToDate, renamesSeen, manifest } = this.#parts;
    await manifest.commit();
    if (this.#paths.size() === 0) return [];
    for (;;) {
      const seen = renamesSeen();
      const moves: Moved[] = [];
      await this.#walk((found) => {
        for (const { path, identity } of found) {
          const before = this.#paths.get(identity);
          const from = before === null ? path : pathFromBytes(before);
          if (from !== path) moves.push({ from, to: path });
        }
      });
      await upToDate();
      if (renamesSeen() === seen || this.#stopped) return moves;
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
      await this.#walk(async (found) => {
        const changed = found.filter(({ path, identity }) => {
          const known = this.#identities.get(path);
          return known === null || String.fromCharCode(...known) !== identity;
        });
        if (changed.length === 0) return;
        await upToDate();
        if (renamesSeen() === seen) {
          for (const { path, identity } of changed) {
            // One that is known elsewhere was renamed unseen: the next comparison takes that in.
            if (this.#paths.get(identity) === null) this.#note(path, identity);
          }
        } else isSure = false;
        seen = renamesSeen();
      });
    }
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

  #note(path: DepotPath, identity: string): void {
    this.#identities.set(path, pathToBytes(identity));
    this.#paths.set(identity, pathToBytes(path));
  }

  /** The directory itself and all below that are known. */
  async #below(dir: DepotPath): Promise<[DepotPath, string][]> {
    await this.#parts.manifest.commit();
    const found: [DepotPath, string][] = [];
    const itself = this.#identities.get(dir);
    if (itself !== null) found.push([dir, String.fromCharCode(...itself)]);
    for (let after = dir + "/";;) {
      const page = await this.#identities.after(after);
      for (const { key, value } of page) {
        if (!key.startsWith(dir + "/")) return found;
        found.push([key as DepotPath, String.fromCharCode(...value)]);
      }
      if (page.length === 0) return found;
      after = page.at(-1)!.key;
    }
  }
}

/** Where the moves left a path. */
function nowAt(path: string, moves: readonly Moved[]): string {
  return moves.reduce(
    (now, { from, to }) => isAt(now, from) ? to + now.slice(from.length) : now,
    path,
  );
}

/** Whether the path is the directory, or below it. */
function isAt(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir + "/");
}
