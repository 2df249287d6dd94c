/**
 * The directory renames that are not carried out in storage yet, in their order, and what each took along:
 * durable, in the manifest. What follows from them is done in `directory_renames.ts`.
 *
 *     renames   number          seconds, NUL, old directory + "/", NUL, new directory + "/"
 *               number + NUL    empty: the directories that are known have not moved with it yet
 *               number + NUL NUL  empty: nor have all the records of its files
 *               number + path   number: since then nothing is at the old path for that rename to take along
 *
 * A name means different files before and after a rename, and as long as the rename waits, its old names
 * in storage mean what they meant before it. So whether a rename has something to take along from a name is
 * never asked of what is at the name now: a note says it, which is made from what is known when the rename
 * happens, or when another rename has moved the object away.
 *
 * @module
 */

import type { Table } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { Tombstone } from "../manifest/schema.ts";
import { type DepotPath, displayPath, pathToBytes } from "../depot_path.ts";
import { RenameSearch } from "./rename_search.ts";

/** Digits of a rename's number in its key: byte order is their order. */
const KEY_DIGITS = 16;

/** Staged changes above which the manifest is waited for (P5). */
const MAX_PENDING = 20_000;

/** In place of a path: no path has them. */
const UNTRACKED = "\0", UNMOVED = "\0\0";

/** One rename that is not carried out yet. */
export interface Rename {
  readonly key: string;
  /** Both with "/" at the end. */
  readonly from: string;
  readonly to: string;
  readonly atSeconds: number;
  /** Its place among renames and deletions; also in its key. */
  readonly order: number;
}

/** See the module's description. */
export class RenameLog {
  readonly #manifest: Manifest;
  readonly #table: Table;
  readonly #search: RenameSearch;
  /** In their order. */
  #pending: readonly Rename[] = [];

  constructor(manifest: Manifest) {
    this.#manifest = manifest;
    this.#table = manifest.table("renames");
    this.#search = new RenameSearch(manifest);
  }

  /** Reads what an earlier daemon left, before anything else runs. */
  async load(): Promise<void> {
    let last = "";
    for (let after = "";;) {
      const page = await this.#table.after(after);
      if (page.length === 0) return;
      for (const { key, value } of page) {
        if (key.length === KEY_DIGITS) {
          this.#pending = [...this.#pending, decode(key, value)];
          last = key;
        } else if (last === "" || !key.startsWith(last)) {
          this.#table.set(key, null); // a crash came before its rename was recorded
        }
      }
      after = page.at(-1)!.key;
    }
  }

  /** Renames that are not carried out yet, in their order; never changed in place. */
  get pending(): readonly Rename[] {
    return this.#pending;
  }

  /** Whether the path was renamed away, and no directory came in its place since. */
  isAway(path: string): boolean {
    const last = this.#pending.findLast(({ from, to }) =>
      path.startsWith(from) || path.startsWith(to)
    );
    return last !== undefined && !path.startsWith(last.to);
  }

  /** The first rename after the given one that took along what was at the path; null: none did. */
  nextFrom({ order }: Rename, path: string): Rename | null {
    return this.#pending.find((each) => each.order > order && path.startsWith(each.from)) ?? null;
  }

  /** A rename happened: it counts from now on, and is durable after {@link record}. */
  add(from: DepotPath, to: DepotPath, atSeconds: number): Rename {
    const order = this.#manifest.nextNumber(), key = String(order).padStart(KEY_DIGITS, "0");
    const rename = { key, from: from + "/", to: to + "/", atSeconds, order };
    this.#pending = [...this.#pending, rename];
    return rename;
  }

  /**
   * Makes it durable, after what had been deleted below its old name: a new file there takes the tombstone
   * back, and the rename must still know.
   * @param isFound Nobody told of it: what was deleted during the search was deleted after it.
   */
  async record(rename: Rename, isFound: boolean): Promise<void> {
    const manifest = this.#manifest;
    await manifest.commit();
    for (let after = rename.from;;) {
      const page = await manifest.tombstonesAfter(after);
      for (const { path } of page) {
        if (!path.startsWith(rename.from)) break;
        // As it is now: an object may have come to the path since the page was read.
        const tombstone = manifest.tombstone(path);
        if (tombstone === null) continue;
        if (isFound && this.#search.isDeletedSince(path, tombstone.order)) {
          manifest.setTombstone(path, { ...tombstone, order: manifest.nextNumber() });
        } else if (!this.#isNoted(rename, path)) this.note(rename, path, tombstone.order);
      }
      if (manifest.pending > MAX_PENDING) await manifest.commit();
      if (page.length === 0 || !page.at(-1)!.path.startsWith(rename.from)) break;
      after = page.at(-1)!.path;
    }
    for await (const { path, order } of this.#search.takenBackBelow(rename.from)) {
      if (!this.#isNoted(rename, path)) this.note(rename, path, order);
    }
    this.#table.set(
      rename.key,
      pathToBytes(`${rename.atSeconds}\0${rename.from}\0${rename.to}`),
    );
    for (const note of [UNTRACKED, UNMOVED]) {
      this.#table.set(rename.key + note, new Uint8Array(0));
    }
    await manifest.commit();
  }

  /** Whether the directories that are known (`directory_identities.ts`) have moved with it. */
  isTracked(rename: Rename): boolean {
    return !this.#isNoted(rename, UNTRACKED);
  }

  /** Notes {@link isTracked}. */
  noteTracked(rename: Rename): void {
    this.#table.set(rename.key + UNTRACKED, null);
  }

  /** Whether every file that moved with it is tracked under its new path. */
  isMoved(rename: Rename): boolean {
    return !this.#isNoted(rename, UNMOVED);
  }

  /** Notes {@link isMoved}. */
  noteMoved(rename: Rename): void {
    this.#table.set(rename.key + UNMOVED, null);
  }

  /**
   * Since when there is nothing at the old path for the rename to take along: the number of what removed
   * it, the rename's own where it is on its way or there. Null: an object of that name is the rename's.
   */
  goneSince(rename: Rename, path: string): number | null {
    const note = this.#table.get(rename.key + path);
    if (note !== null) return Number(String.fromCharCode(...note));
    // One of an earlier program, which made no notes; or {@link record} is not that far yet.
    const tombstone = this.#manifest.tombstone(path);
    return tombstone !== null && tombstone.order <= rename.order ? tombstone.order : null;
  }

  /** Notes {@link goneSince}. */
  note(rename: Rename, path: string, order: number): void {
    this.#table.set(rename.key + path, pathToBytes(String(order)));
  }

  /** What was at the old path is on its way, or not to be moved: nothing is left for later renames either. */
  noteDone(rename: Rename, path: string): void {
    this.note(rename, path, rename.order);
    for (const later of this.#pending) {
      const isNext = later.order > rename.order && path.startsWith(later.from);
      if (isNext && !this.#isNoted(later, path)) this.note(later, path, rename.order);
    }
  }

  /**
   * What earlier renames had to take along from the path is on its way: they have nothing there.
   * @returns Whether that was new.
   */
  noteSettled(rename: Rename, path: string): boolean {
    const open = this.#pending.filter((each) =>
      each.order < rename.order && path.startsWith(each.from) && !this.#isNoted(each, path)
    );
    for (const earlier of open) this.note(earlier, path, 0);
    return open.length > 0;
  }

  /** An object came to the path with the rename: the next one takes it along, unless it was gone since. */
  noteArrival(rename: Rename, path: string): void {
    const next = this.nextFrom(rename, path);
    const gone = next === null ? null : this.goneSince(next, path);
    if (gone !== null && gone <= rename.order) this.#table.set(next!.key + path, null);
  }

  #isNoted(rename: Rename, path: string): boolean {
    return this.#table.get(rename.key + path) !== null;
  }

  /** It is carried out. Notes without their rename, as a crash leaves them, go at the next {@link load}. */
  async forget(rename: Rename): Promise<void> {
    const manifest = this.#manifest;
    this.#table.set(rename.key, null);
    this.#pending = this.#pending.filter((each) => each !== rename);
    await manifest.commit();
    for (let after = rename.key;;) {
      const page = await this.#table.after(after);
      const notes = page.filter(({ key }) => key.startsWith(rename.key));
      for (const { key } of notes) this.#table.set(key, null);
      if (notes.length === 0 || notes.length < page.length) return;
      after = page.at(-1)!.key;
      if (manifest.pending > MAX_PENDING) await manifest.commit();
    }
  }
}

function decode(key: string, value: Uint8Array): Rename {
  const [at, from, to] = String.fromCharCode(...value).split("\0");
  return { key, from: from!, to: to!, atSeconds: Number(at), order: Number(key) };
}

/** The path that a path below the old directory has under the new one. */
export function newPath(rename: Rename, from: string): DepotPath {
  return rename.to + from.slice(rename.from.length) as DepotPath;
}

/** The path that a path below the new directory had under the old one. */
export function oldPath(rename: Rename, to: string): DepotPath {
  return rename.from + to.slice(rename.to.length) as DepotPath;
}

/** What a rename leaves at a file's old path. */
export function leftBy({ atSeconds, order }: Rename): Tombstone {
  return { deletedAtSeconds: atSeconds, collected: false, order };
}

/** The rename in words, for the log. */
export function describe({ from, to }: Rename): string {
  return `the rename of ${displayPath(from)} to ${displayPath(to)}`;
}
