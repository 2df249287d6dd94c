/**
 * The manifest: the durable record of every file in the cache, owned by one thread.
 *
 * Changes are staged in memory and committed in groups (`group_commit.ts`). Reads see staged changes at
 * once; whoever needs durability awaits {@link Manifest.commit}. A crash loses at most what was staged:
 * the scan at the next start finds it again, since a file that differs from what the manifest says, or
 * that it does not know, becomes dirty.
 *
 * @module
 */

import type { FoundFiles } from "../../ffi/found_files.ts";
import type { Doubt, Kv, WalkStep } from "../../ffi/kv.ts";
import type { Walk } from "../../ffi/walk.ts";
import type { DepotPath } from "../depot_path.ts";
import { CommittedRecords } from "./committed_records.ts";
import { bytesOf, type ChangeWatch, GroupCommit, type Table, text } from "./group_commit.ts";
import { type Counters, countFound, countRow, encodeCounters, parseCounters } from "./counters.ts";
import { EvictOrder } from "./evict_order.ts";
import { type OrderEntry, orderEntry } from "./evict_ranks.ts";
import type { EvictPolicy } from "./rank.ts";
import {
  CLEAN,
  COUNTERS_KEY,
  DATABASES,
  decodeTombstone,
  encodeRow,
  encodeTombstone,
  encodeVersion,
  type FileRow,
  timeKey,
  type Tombstone,
} from "./schema.ts";
import { type FileRecord, seen } from "./transitions.ts";
import { TrashEntries } from "./trash_entries.ts";
import { Unsynced } from "./unsynced.ts";

const RUNNING_KEY = "running", NO_BYTES: Uint8Array = new Uint8Array(0);

/** What the manifest needs of its environment. */
export type ManifestStore = Omit<Kv, "scanInto" | "sync">;

/**
 * See the module's description. Paths are one character per byte. What reads throws KvError where the
 * environment cannot be read; what changes a record only stages it, and {@link Manifest.commit} tells.
 */
export class Manifest {
  readonly #kv: ManifestStore;
  readonly #db;
  readonly #storageKey: (path: string) => string;
  readonly #commits: GroupCommit<FileRecord>;
  readonly #committed: CommittedRecords;
  #nextNumber: number;
  readonly counters: Counters = { total: 0, dirty: 0, bytes: 0, dirtyBytes: 0 };
  readonly #tombstones: Table;
  readonly #order: EvictOrder;
  /** Clean files that may not be on the platter. */
  readonly unsynced: Unsynced;
  /** Files that evictions have taken. */
  readonly trash: TrashEntries;
  #forgotten = 0;
  /** Until when every change was taken in, ns since the epoch: saved with each commit. Null: unknown. */
  toldUntilNs: () => bigint | null;
  /** Whether another program wrote to the environment since our last commit: rows need a recount. */
  readonly needsRecount: boolean;
  /** Whether the daemon that had it open last did not come to its end: see {@link setRunning}. */
  readonly wasCutOff: boolean;

  /**
   * @param kv The open environment; closed with the manifest, or here when this throws.
   * @param storageKey Object key of a path, stored with each row for the C++ implementation: what it says of
   *   the empty path, and then the path.
   * @param onCommitError Told of each failed commit, which is tried again until it succeeds, and then
   *   once with null.
   * @param policy What {@link coldestAfter} goes by; {@link settleOrder} makes it so.
   * @throws KvError naming the directory and what is wrong with the data.
   */
  constructor(
    kv: ManifestStore,
    storageKey: (path: string) => string,
    onCommitError: (error: unknown) => void,
    policy: EvictPolicy = "lru",
  ) {
    this.#kv = kv;
    try {
      const meta = this.#kv.database("meta");
      // Before databases are made that an older version did not have: these are no other's writes.
      const foundTxn = this.#kv.info(meta).lastTxn;
      this.#kv.prepare(DATABASES);
      this.#db = {
        files: this.#kv.database("files"),
        dirtyQueue: this.#kv.database("dirty_queue"),
        evictOrder: this.#kv.database("evict_order"),
        versions: this.#kv.database("versions"),
        meta,
        tombstones: this.#kv.database("tombstones"),
      };
      this.#committed = new CommittedRecords(kv, this.#db.files, this.#db.versions);
      const info = this.#kv.info(this.#db.files);
      this.#commits = new GroupCommit(kv, info, onCommitError, (batch, txn) => {
        const told = this.toldUntilNs();
        batch.put(meta, COUNTERS_KEY, encodeCounters(this.counters, this.#nextNumber, txn, told));
      });
      this.#tombstones = this.#commits.table(this.#db.tombstones);
      this.#order = new EvictOrder(policy, (name) => this.table(name));
      this.unsynced = new Unsynced((name) => this.table(name));
      this.trash = new TrashEntries(this.table("trash"), () => this.nextNumber());
      this.#storageKey = storageKey;
      this.wasCutOff = this.#kv.get(this.#db.meta, RUNNING_KEY) !== null;
      const known = parseCounters(this.#kv.get(meta, COUNTERS_KEY));
      this.needsRecount = known === null ? info.entries > 0 : BigInt(known.txn) !== foundTxn;
      const { total, dirty, bytes, dirtyBytes } = known ?? this.counters;
      Object.assign(this.counters, { total, dirty, bytes, dirtyBytes });
      this.#nextNumber = known?.nextTrashId ?? 1;
      this.toldUntilNs = () => known?.toldUntilNs ?? null;
    } catch (error) {
      this.#kv.close();
      throw error;
    }
  }

  /** Records, durably, that a daemon works on the depot, or that it came to its end. */
  setRunning(isRunning: boolean): Promise<void> {
    if (isRunning) this.#commits.put(this.#db.meta, RUNNING_KEY, NO_BYTES);
    else this.#commits.delete(this.#db.meta, RUNNING_KEY);
    return this.commit();
  }

  /** How many records were forgotten since it was opened. */
  get forgotten(): number {
    return this.#forgotten;
  }

  /** The record of a path, or null when it is not tracked. */
  get(path: string): FileRecord | null {
    const staged = this.#commits.staged(path);
    if (staged !== undefined) return staged;
    return this.#committed.get(path);
  }

  /** Reads the records of these paths in one go; {@link get} has them at hand until the next call. */
  preload(paths: readonly string[]): void {
    const settled = paths.filter((path) => this.#commits.staged(path) === undefined);
    this.#committed.preload(settled);
    this.#order.preload(settled);
  }

  /**
   * Replaces the record of a path (null: forget it), and clears its tombstone when it has one.
   * @param previousAccess Of a restored file: the access before this one, seconds; 0: not known.
   */
  set(path: DepotPath, after: FileRecord | null, previousAccess = 0): void {
    this.#replace(path, this.get(path), after, previousAccess);
    if (after !== null && this.isTombstoned(path)) this.setTombstone(path, null);
  }

  /**
   * For each path whether nothing is known of it: neither a row nor a tombstone, nor a change on its way.
   */
  areNew(paths: readonly DepotPath[]): boolean[] {
    const { files, tombstones } = this.#db;
    const held = this.#kv.holds([files, tombstones], paths);
    return paths.map((path, i) =>
      !held[i] && this.#commits.staged(path) === undefined &&
      !this.#commits.isChanging(tombstones, path)
    );
  }

  /** {@link set} for a path that {@link areNew} just now: without another look. */
  add(path: DepotPath, record: FileRecord): void {
    this.#replace(path, null, record, 0);
  }

  /** One step of a walk, without the files that are as their committed rows say, as far as no doubt is. */
  compareNext(walk: Walk, doubt: Doubt | null = null): Promise<WalkStep> {
    const { files, versions, tombstones } = this.#db;
    return this.#kv.compareNext(walk, files, versions, tombstones, doubt);
  }

  /** See {@link GroupCommit.watch}. */
  readonly watch = (): ChangeWatch => this.#commits.watch();

  /**
   * {@link add} for all files of a step of {@link compareNext}; false, and nothing is added, when anything
   * about one of them has changed `since`, which was begun before the step.
   */
  addFound(files: FoundFiles, since: ChangeWatch, nowSeconds: number): boolean {
    if (since.has(files)) return false;
    countFound(this.counters, files);
    const prefix = this.#storageKey("");
    this.#commits.putFound(this.#db.files, this.#db.dirtyQueue, prefix, nowSeconds, files);
    this.#commits.stageFound({ files, row: (size) => seen(null, size, nowSeconds) });
    this.#committed.allChanged();
    return true;
  }

  #replace(
    path: DepotPath,
    before: FileRecord | null,
    after: FileRecord | null,
    previousAccess: number,
  ): void {
    this.#order.change(path, before, after, previousAccess);
    const commits = this.#commits;
    const { files, dirtyQueue, evictOrder, versions } = this.#db;
    const wasClean = before?.row.state === CLEAN, isClean = after?.row.state === CLEAN;
    const key = after === null ? null : queueKey(after.row, path);
    if (before !== null) {
      const oldKey = queueKey(before.row, path);
      if (wasClean !== isClean || oldKey !== key) {
        commits.delete(wasClean ? evictOrder : dirtyQueue, oldKey);
      }
      if (before.version !== null && after?.version == null) commits.delete(versions, path);
      countRow(this.counters, before.row, -1);
    }
    if (after === null || key === null) {
      if (before !== null) {
        commits.delete(files, path);
        this.#forgotten++;
      }
    } else {
      commits.put(files, path, encodeRow(after.row, this.#storageKey(path)));
      commits.put(isClean ? evictOrder : dirtyQueue, key, NO_BYTES);
      if (after.version !== null && after.version !== before?.version) {
        commits.put(versions, path, encodeVersion(after.version));
        this.unsynced.note(path);
      }
      countRow(this.counters, after.row, 1);
    }
    commits.stage(path, after);
    this.#committed.changed(path);
  }

  /** Opens or creates a further database. */
  table(name: string): Table {
    return this.#commits.table(this.#kv.database(name));
  }

  /** Whether p4d deleted the file and nothing has been written at its path since. */
  isTombstoned(path: string): boolean {
    return this.#tombstones.get(path) !== null;
  }

  /** When the file was deleted, and whether its object was removed; null when it was not deleted. */
  tombstone(path: string): Tombstone | null {
    const value = this.#tombstones.get(path);
    return value === null ? null : decodeTombstone(value);
  }

  /**
   * Records that the file was deleted, or takes that back (null).
   * @param tombstone Without `order`, it happened after everything before.
   */
  setTombstone(
    path: DepotPath,
    tombstone: Omit<Tombstone, "order"> & { order?: number } | null,
  ): void {
    const value = tombstone === null
      ? null
      : encodeTombstone({ ...tombstone, order: tombstone.order ?? this.nextNumber() });
    this.#tombstones.set(path, value);
  }

  /** A number above all that were given before, also by earlier daemons. */
  nextNumber(): number {
    return this.#nextNumber++;
  }

  /** Numbers begin anew, above all that were given before: for a manifest of old. */
  skipNumbers(): void {
    this.#nextNumber = Math.max(this.#nextNumber, Date.now());
  }

  /** Drops every tombstone; seen by {@link isTombstoned} once it is committed. */
  forgetDeletions(): void {
    this.#tombstones.clear();
  }

  /** Deleted paths after the given one ("" begins), in byte order. */
  async tombstonesAfter(path: string): Promise<{ path: DepotPath; tombstone: Tombstone }[]> {
    const entries = await this.#tombstones.after(path);
    return entries.map(({ key, value }) => ({
      path: key as DepotPath,
      tombstone: decodeTombstone(value),
    }));
  }

  /** Files waiting for upload, oldest first, after the given queue key ("" begins). */
  async dirtyAfter(key: string): Promise<OrderEntry[]> {
    const entries = await this.#kv.scan(this.#db.dirtyQueue, bytesOf(key), false);
    return entries.map((entry) => orderEntry({ key: text(entry.key) }));
  }

  /** Clean files after the given order key ("" begins), those to evict first. */
  coldestAfter(key: string): Promise<OrderEntry[]> {
    return this.#order.after(key);
  }

  /**
   * Makes the policy's order whole where it is not: after another policy, or another program's writes.
   * Runs before anything else uses the manifest.
   */
  settleOrder(): Promise<void> {
    return this.#order.settle(this.needsRecount, () => this.commit());
  }

  /** Paths of tracked files, in byte order, after the given path ("" begins). */
  async pathsAfter(path: string): Promise<DepotPath[]> {
    const entries = await this.#kv.scan(this.#db.files, bytesOf(path), false);
    return entries.map(({ key }) => text(key) as DepotPath);
  }

  /** Every row as stored: for the recount of an environment that another program wrote. */
  async *rows(): AsyncGenerator<{ path: DepotPath; value: Uint8Array }> {
    for (let after = NO_BYTES;;) {
      const entries = await this.#kv.scan(this.#db.files, after, false);
      if (entries.length === 0) return;
      for (const { key, value } of entries) yield { path: text(key) as DepotPath, value };
      after = entries.at(-1)!.key;
    }
  }

  /** Takes the pages that were read out of this process's memory; they stay in the system's cache. */
  trim(): Promise<void> {
    return this.#kv.trim(this.#db.files);
  }

  /** Bytes of the data file in use, what it may grow to, and dead readers that were forgotten. */
  usage(): { usedBytes: number; mapBytes: number; staleReaders: number } {
    const { usedBytes, mapBytes, staleReaders } = this.#kv.info(this.#db.files);
    return { usedBytes, mapBytes, staleReaders };
  }

  /** Writes what is committed to a new file; see {@link Kv.copyTo}. */
  copyTo(path: string, isCompact: boolean): Promise<void> {
    return this.#kv.copyTo(path, isCompact);
  }

  /** Staged operations that are not durable yet. */
  get pending(): number {
    return this.#commits.pending;
  }

  /** Resolves when no more than so many staged operations are left; has them committed until then. */
  settleTo(most: number): Promise<void> {
    return this.#commits.settleTo(most);
  }

  /** Resolves when everything staged so far is durable; has that done now. */
  commit(): Promise<void> {
    return this.#commits.commit();
  }

  /** As {@link commit}; false when that takes longer than so many ms. It goes on then. */
  commitWithin(ms: number): Promise<boolean> {
    return this.#commits.commitWithin(ms);
  }

  /** Resolves when everything staged so far is durable; nothing is hurried for that. */
  durable(): Promise<void> {
    return this.#commits.durable();
  }

  /** See {@link GroupCommit.giveUp}. */
  giveUp(): void {
    this.#commits.giveUp();
  }

  /** Commits what is staged, where that is possible, and closes the environment. */
  async close(): Promise<void> {
    await this.#commits.close();
    this.#kv.close();
  }
}

/** A file's key in `evict_order` when it is clean, else in `dirty_queue`. */
function queueKey({ state, lastAccess, createdAt }: FileRow, path: string): string {
  return timeKey(state === CLEAN ? lastAccess : createdAt, path);
}
