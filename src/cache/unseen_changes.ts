/**
 * Which files may have changed without anybody's having told: after events were lost, and while no daemon
 * watched. What the manifest says of those is not believed, whatever they look like (P1).
 *
 * Two files that were closed within one tick of the clock can be alike in size, mtime and mode. A rename
 * puts one in the place of the other; if its event is lost, only the ctime, which no program can set, says
 * that something happened. The ctime is not kept with a version, since it changes when a depot is copied.
 * Kept is one time for the whole depot: what happened before it was taken in. The watcher knows it (the
 * kernel's queue was empty then, and all that had been in it is dealt with), and each commit of the
 * manifest saves it with the rows it is true of.
 *
 * The rule: while there is a doubt, a clean row is believed only when the file's ctime is from before the
 * doubt, or when the row was begun after it, from an event, a walk or a restore.
 *
 * Interleavings (tests/cache/unseen_changes_test.ts and the simulation force them):
 *
 *   1. Event lost, then told, then the comparison → it tells every file that the rule does not cover;
 *      they are dirty, and read again.
 *   2. Event lost; an eviction begins before that is told → its barrier takes the loss in, and every
 *      eviction and upload in flight counts as touched: nothing of the batch goes.
 *   3. Loss told, not compared yet, an eviction begins → files that the rule does not cover stay, and are
 *      made dirty at once.
 *   4. Upload opened the old file, event lost, the comparison passes the path as dirty, the upload ends →
 *      it counts as touched, see 2, and the file stays dirty.
 *   5. A row became clean, is not committed yet, event lost → the comparison commits before it begins,
 *      since it reads committed rows.
 *   6. Killed at any point of these → the next start doubts from the time that the last commit saved,
 *      which does not go on while a doubt is open.
 *   7. No comparison at the start (`skip_startup_scan`) → the doubt stays open until there is one; 3 holds.
 *
 * A depot that was copied has new ctimes: the time is not used where the depot's directory is another one.
 *
 * @module
 */

import type { DepotFiles } from "../../ffi/files.ts";
import type { Doubt } from "../../ffi/kv.ts";
import { bytesOf, text } from "../manifest/group_commit.ts";
import type { Manifest } from "../manifest/manifest.ts";
import type { FileRow } from "../manifest/schema.ts";
import type { Activity } from "./activity.ts";

/** The manifest's database, and the key of the depot that the saved time is of. */
const TABLE = "meta", DEPOT_KEY = "told_depot";

/** Times of files lag behind the clock by a tick, and events behind their changes by a system call, ns. */
const MARGIN_NS = 1_000_000_000n;

/** Parts it works on. */
export interface UnseenChangesParts {
  readonly files: Pick<DepotFiles, "identity">;
  readonly manifest: Manifest;
  readonly activity: Pick<Activity, "touchAll">;
  /** Before when everything was taken in, ns since the epoch; 0 when that is not known yet. */
  readonly toldUntilNs: () => bigint;
  /** Of a manifest from a backup: the time that it is of, s since the epoch; else null. */
  readonly restoredSince: number | null;
  /** Whether anybody watches. */
  readonly isWatched: boolean;
  readonly nowMs: () => number;
}

/** See the module's description. Made when the watcher has begun. */
export class UnseenChanges {
  readonly #parts: UnseenChangesParts;
  /** When watching began, ns since the epoch. */
  readonly #begunNs: bigint;
  /** What no comparison has begun to look for. */
  #open: Doubt | null = null;
  /** What running comparisons look for. */
  readonly #searched = new Set<Doubt>();

  constructor(parts: UnseenChangesParts) {
    this.#parts = parts;
    this.#begunNs = BigInt(Math.floor(parts.nowMs())) * 1_000_000n;
    const { manifest, restoredSince } = parts;
    if (restoredSince !== null) this.#doubtFrom(BigInt(restoredSince) * 1_000_000_000n);
    if (!parts.isWatched) {
      manifest.toldUntilNs = () => null;
      return;
    }
    const told = manifest.toldUntilNs();
    // Another program's writes are recounted, and its rows verified before they are evicted (M3).
    if (this.#isSameDepot() && told !== null && !manifest.needsRecount) this.#doubtFrom(told);
    manifest.toldUntilNs = () => this.doubt?.fromNs ?? this.#certainUntilNs();
  }

  /** What is not believed at the moment; null: all is. */
  get doubt(): Doubt | null {
    let all = this.#open;
    for (const doubt of this.#searched) all = widest(all, doubt);
    return all;
  }

  /** A clean row may not be of its file where that has a ctime from then on, ns; null: it is of any. */
  doubtedFromNs(row: FileRow): bigint | null {
    const { doubt } = this;
    return doubt === null || row.createdAt >= doubt.untilSeconds ? null : doubt.fromNs;
  }

  /** Events were lost: there may be changes of which none will tell. */
  lost(): void {
    this.#doubtFrom(this.#certainUntilNs());
    this.#parts.activity.touchAll();
  }

  /**
   * A comparison of the whole depot begins.
   * @returns What it looks for; {@link searched} ends that.
   */
  search(): Doubt | null {
    const doubt = this.#open;
    this.#open = null;
    if (doubt !== null) this.#searched.add(doubt);
    return doubt;
  }

  /** The comparison that looked for it ended. @param isThrough Whether it came to everything. */
  searched(doubt: Doubt | null, isThrough: boolean): void {
    if (doubt === null) return;
    this.#searched.delete(doubt);
    if (!isThrough) this.#open = widest(this.#open, doubt);
  }

  #certainUntilNs(): bigint {
    const told = this.#parts.toldUntilNs();
    return (told > this.#begunNs ? told : this.#begunNs) - MARGIN_NS;
  }

  #doubtFrom(sinceNs: bigint): void {
    const nowMs = this.#parts.nowMs();
    const nowNs = BigInt(Math.floor(nowMs)) * 1_000_000n;
    // The clock may have been set back.
    const fromNs = sinceNs < nowNs ? sinceNs : nowNs - MARGIN_NS;
    const doubt = { fromNs, untilSeconds: Math.floor(nowMs / 1000) + 1 };
    this.#open = widest(this.#open, doubt);
  }

  /** Whether the saved time is of this depot; from now on it is. */
  #isSameDepot(): boolean {
    const { files, manifest } = this.#parts;
    const table = manifest.table(TABLE);
    const known = table.get(DEPOT_KEY), depot = files.identity(".") ?? "";
    if (known !== null && text(known) === depot) return true;
    table.set(DEPOT_KEY, bytesOf(depot));
    return false;
  }
}

function widest(a: Doubt | null, b: Doubt): Doubt {
  if (a === null) return b;
  return {
    fromNs: a.fromNs < b.fromNs ? a.fromNs : b.fromNs,
    untilSeconds: Math.max(a.untilSeconds, b.untilSeconds),
  };
}
