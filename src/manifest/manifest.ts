/**
 * The manifest: the durable record of every file in the cache, owned by one thread.
 *
 * Changes are staged in memory and committed in groups, one durable transaction each, off the event
 * loop. Reads see staged changes at once; whoever needs durability awaits {@link Manifest.commit}.
 * A crash loses at most what was staged: the scan at the next start finds it again, since a file that
 * differs from what the manifest says, or that it does not know, becomes dirty.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import {
  type Kv,
  KV_MAP_FULL,
  KV_PANIC,
  KvBatch,
  type KvEntry,
  KvError,
  type WalkStep,
} from "../../ffi/kv.ts";
import type { Walk } from "../../ffi/walk.ts";
import type { DepotPath } from "../cache/depot_path.ts";
import { EvictRanks, type OrderEntry } from "./evict_ranks.ts";
import type { EvictPolicy } from "./rank.ts";
import {
  CLEAN,
  COUNTERS_KEY,
  DATABASES,
  decodeRow,
  decodeTombstone,
  decodeVersion,
  encodeRow,
  encodeTombstone,
  encodeVersion,
  READABLE_FROM,
  SCHEMA,
  splitTimeKey,
  timeKey,
  type Tombstone,
} from "./schema.ts";
import type { FileRecord } from "./transitions.ts";
import { Unsynced } from "./unsynced.ts";

/** Totals kept up to date with every change, so that nothing ever counts rows. */
export interface Counters {
  total: number;
  dirty: number;
  /** Bytes of all tracked files. */
  bytes: number;
  /** Bytes of those that are not uploaded. */
  dirtyBytes: number;
}

/** A further database, written in the same transactions as the rows. */
export interface Table {
  /** The value of a key, staged changes included; null when there is none. */
  get(key: string): Uint8Array | null;
  /** Puts the value, or removes the key (null). */
  set(key: string, value: Uint8Array | null): void;
  /** Removes every entry; seen by {@link get} once it is committed. */
  clear(): void;
  /** Reads these keys in one go; {@link get} has them at hand until the next call. */
  preload(keys: readonly string[]): void;
  /**
   * Committed entries after the key ("" begins), a page of them; none at the end.
   * @param roomBytes Size of the page.
   */
  after(key: string, roomBytes?: number): Promise<{ key: string; value: Uint8Array }[]>;
  /** Committed entries. */
  size(): number;
}

/**
 * Longest time that changes gather while nobody waits for them, ms: each commit syncs the disk that
 * p4d writes to, so few and large ones leave it the most.
 */
const GATHER_MS = 100;

/** A page of the order of eviction, bytes: about what is evicted together. */
const COLDEST_BYTES = 48 * 1024;

/** Wait before a failed commit is tried again, ms. */
const COMMIT_RETRY_MS = 1000;

const RUNNING_KEY = "running";

/** What the manifest needs of its environment. */
export type ManifestStore = Pick<
  Kv,
  | "prepare"
  | "database"
  | "get"
  | "values"
  | "holds"
  | "compareNext"
  | "apply"
  | "scan"
  | "info"
  | "reopen"
  | "copyTo"
  | "close"
>;

interface Stage {
  readonly records: Map<string, FileRecord | null>;
  /** Changes of the tables: database number, then key. */
  readonly tables: Map<number, Map<string, Uint8Array | null>>;
  readonly batch: KvBatch;
  readonly done: PromiseWithResolvers<void>;
  /** Whether somebody waits until it is durable. */
  isAwaited: boolean;
}

function newStage(): Stage {
  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {}); // waited for only by those who need durability
  return { records: new Map(), tables: new Map(), batch: new KvBatch(), done, isAwaited: false };
}

/** See the module's description. Paths are one character per byte. */
export class Manifest {
  readonly #kv: ManifestStore;
  readonly #db;
  readonly #storageKey: (path: string) => string;
  readonly #onCommitError: (error: unknown) => void;
  #staged = newStage();
  #committing: Stage | null = null;
  #loop: Promise<void> | null = null;
  #hurry: (() => void) | null = null;
  /** Records that {@link preload} read and that did not change since. */
  #loaded = new Map<string, FileRecord | null>();
  /** A change reads its path's record several times in a row. */
  #lastRead: { readonly path: string; readonly record: FileRecord | null } | null = null;
  #closed = false;
  #givingUp = false;
  #lastTxn: bigint;
  #mapBytes: number;
  #nextTrashId: number;
  readonly counters: Counters = { total: 0, dirty: 0, bytes: 0, dirtyBytes: 0 };
  readonly #tombstones: Table;
  readonly #policy: EvictPolicy;
  readonly #ranks: EvictRanks;
  /** Clean files that may not be on the platter. */
  readonly unsynced: Unsynced;
  /** Whether another program wrote to the environment since our last commit: rows need a recount. */
  readonly needsRecount: boolean;
  /** Whether the daemon that had it open last did not come to its end: see {@link setRunning}. */
  readonly wasCutOff: boolean;

  /**
   * @param kv The open environment; closed with the manifest, or here when this throws.
   * @param storageKey Object key of a path, stored with each row for the C++ implementation.
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
    this.#policy = policy;
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
        trash: this.#kv.database("trash"),
        meta,
        tombstones: this.#kv.database("tombstones"),
      };
      this.#tombstones = this.#tableOf(this.#db.tombstones);
      this.#ranks = new EvictRanks((name) => this.table(name));
      this.unsynced = new Unsynced((name) => this.table(name));
      this.#storageKey = storageKey;
      this.#onCommitError = onCommitError;
      const info = this.#kv.info(this.#db.files);
      this.#lastTxn = info.lastTxn;
      this.wasCutOff = this.#kv.get(this.#db.meta, RUNNING_KEY) !== null;
      this.#mapBytes = info.mapBytes;
      const saved = this.#kv.get(this.#db.meta, COUNTERS_KEY);
      const known = parseCounters(saved);
      this.needsRecount = known === null ? info.entries > 0 : BigInt(known.txn) !== foundTxn;
      if (known !== null) {
        this.counters.total = known.total;
        this.counters.dirty = known.dirty;
        this.counters.bytes = known.bytes;
        this.counters.dirtyBytes = known.dirtyBytes;
      }
      this.#nextTrashId = known?.nextTrashId ?? 1;
    } catch (error) {
      this.#kv.close();
      throw error;
    }
  }

  /** Records, durably, that a daemon works on the depot, or that it came to its end. */
  setRunning(isRunning: boolean): Promise<void> {
    const { batch } = this.#staged;
    if (isRunning) batch.put(this.#db.meta, RUNNING_KEY, NO_BYTES);
    else batch.delete(this.#db.meta, RUNNING_KEY);
    this.#wake();
    return this.commit();
  }

  /** The record of a path, or null when it is not tracked. */
  get(path: string): FileRecord | null {
    const staged = this.#staged.records.get(path);
    if (staged !== undefined) return staged;
    const committing = this.#committing?.records.get(path);
    if (committing !== undefined) return committing;
    const loaded = this.#loaded.get(path);
    if (loaded !== undefined) return loaded;
    if (this.#lastRead?.path !== path) this.#lastRead = { path, record: this.#read(path) };
    return this.#lastRead.record;
  }

  /** Reads the records of these paths in one go; {@link get} has them at hand until the next call. */
  preload(paths: readonly string[]): void {
    const isChanging = (path: string) =>
      this.#staged.records.has(path) || this.#committing?.records.has(path) === true;
    const settled = paths.filter((path) => !isChanging(path));
    const rows = this.#kv.values(this.#db.files, settled);
    const versions = this.#kv.values(this.#db.versions, settled);
    this.#loaded = new Map(
      settled.map((path, i) => [path, recordOf(rows[i]!, versions[i]!)]),
    );
    if (this.#policy === "lru2") this.#ranks.preload(settled);
  }

  #read(path: string): FileRecord | null {
    const bytes = this.#kv.get(this.#db.files, path);
    if (bytes === null) return null;
    const row = decodeRow(bytes);
    if (row.state !== CLEAN) return { row, version: null };
    const version = this.#kv.get(this.#db.versions, path);
    return { row, version: version === null ? null : decodeVersion(version) };
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
    const stages = [this.#staged, this.#committing];
    return paths.map((path, i) =>
      !held[i] &&
      !stages.some((s) => s?.records.has(path) || s?.tables.get(tombstones)?.has(path))
    );
  }

  /** {@link set} for a path that {@link areNew} just now: without another look. */
  add(path: DepotPath, record: FileRecord): void {
    this.#replace(path, null, record, 0);
  }

  /** One step of a walk, without the files that are as their committed rows say. */
  compareNext(walk: Walk): Promise<WalkStep> {
    return this.#kv.compareNext(walk, this.#db.files, this.#db.versions);
  }

  #replace(
    path: DepotPath,
    before: FileRecord | null,
    after: FileRecord | null,
    previousAccess: number,
  ): void {
    if (this.#policy === "lru2") this.#ranks.change(path, before, after, previousAccess);
    const { batch, records } = this.#staged;
    const { files, dirtyQueue, evictOrder, versions } = this.#db;
    if (before !== null) {
      const wasClean = before.row.state === CLEAN;
      const sameKey = after !== null && (after.row.state === CLEAN) === wasClean &&
        (wasClean
          ? after.row.lastAccess === before.row.lastAccess
          : after.row.createdAt === before.row.createdAt);
      if (!sameKey) {
        batch.delete(
          wasClean ? evictOrder : dirtyQueue,
          timeKey(wasClean ? before.row.lastAccess : before.row.createdAt, path),
        );
      }
      if (before.version !== null && after?.version == null) batch.delete(versions, path);
      this.counters.total--;
      this.counters.bytes -= before.row.size;
      if (!wasClean) {
        this.counters.dirty--;
        this.counters.dirtyBytes -= before.row.size;
      }
    }
    if (after === null) {
      if (before !== null) batch.delete(files, path);
    } else {
      const isClean = after.row.state === CLEAN;
      batch.put(files, path, encodeRow(after.row, this.#storageKey(path)));
      batch.put(
        isClean ? evictOrder : dirtyQueue,
        timeKey(isClean ? after.row.lastAccess : after.row.createdAt, path),
        NO_BYTES,
      );
      if (after.version !== null && after.version !== before?.version) {
        batch.put(versions, path, encodeVersion(after.version));
        this.unsynced.note(path);
      }
      this.counters.total++;
      this.counters.bytes += after.row.size;
      if (!isClean) {
        this.counters.dirty++;
        this.counters.dirtyBytes += after.row.size;
      }
    }
    records.set(path, after);
    this.#loaded.delete(path);
    this.#lastRead = null;
    this.#wake();
  }

  /** Opens or creates a further database. */
  table(name: string): Table {
    return this.#tableOf(this.#kv.database(name));
  }

  #tableOf(db: number): Table {
    let loaded = new Map<string, Uint8Array | null>();
    return {
      get: (key) => {
        for (const stage of [this.#staged, this.#committing]) {
          const value = stage?.tables.get(db)?.get(key);
          if (value !== undefined) return value;
        }
        const known = loaded.get(key);
        if (known !== undefined) return known;
        // A copy: the store's view is valid only until the next read.
        return this.#kv.get(db, key)?.slice() ?? null;
      },
      set: (key, value) => {
        const { batch, tables } = this.#staged;
        if (value === null) batch.delete(db, key);
        else batch.put(db, key, value);
        const changes = tables.get(db) ?? new Map();
        tables.set(db, changes.set(key, value));
        loaded.delete(key);
        this.#wake();
      },
      clear: () => {
        loaded = new Map();
        this.#staged.batch.drop(db);
        this.#staged.tables.delete(db);
        this.#wake();
      },
      preload: (keys) => {
        const isChanging = (key: string) =>
          [this.#staged, this.#committing].some((stage) => stage?.tables.get(db)?.has(key));
        const settled = keys.filter((key) => !isChanging(key));
        const values = this.#kv.values(db, settled);
        loaded = new Map(settled.map((key, i) => [key, values[i]!]));
      },
      after: async (key, roomBytes) => {
        const entries = await this.#kv.scan(db, bytesOf(key), false, roomBytes);
        return entries.map((entry) => ({ key: text(entry.key), value: entry.value }));
      },
      size: () => this.#kv.info(db).entries,
    };
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

  /** Records that the file was deleted, or takes that back (null). */
  setTombstone(path: DepotPath, tombstone: Tombstone | null): void {
    this.#tombstones.set(path, tombstone === null ? null : encodeTombstone(tombstone));
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

  /** Records that an eviction is about to take the file; returns its name in the trash. */
  addTrash(path: DepotPath): number {
    const id = this.#nextTrashId++;
    const value = new Uint8Array(path.length);
    for (let i = 0; i < path.length; i++) value[i] = path.charCodeAt(i);
    this.#staged.batch.put(this.#db.trash, String(id), value);
    this.#wake();
    return id;
  }

  /** Names in the trash begin anew, above all that were given before: for a manifest of old. */
  skipTrashNames(): void {
    this.#nextTrashId = Math.max(this.#nextTrashId, Date.now());
  }

  /** Ends what {@link addTrash} began. */
  removeTrash(id: number): void {
    this.#staged.batch.delete(this.#db.trash, String(id));
    this.#wake();
  }

  /** Files that an interrupted eviction took: trash name to path. */
  async trash(): Promise<Map<string, DepotPath>> {
    const found = new Map<string, DepotPath>();
    for await (const { key, value } of this.#entries(this.#db.trash)) {
      found.set(text(key), text(value) as DepotPath);
    }
    return found;
  }

  /** Files waiting for upload, oldest first, after the given queue key ("" begins). */
  async dirtyAfter(key: string): Promise<{ key: string; path: DepotPath; seconds: number }[]> {
    return (await this.#kv.scan(this.#db.dirtyQueue, bytesOf(key), false)).map(queueEntry);
  }

  /** Clean files after the given order key ("" begins), those to evict first. */
  coldestAfter(key: string): Promise<OrderEntry[]> {
    return this.#policy === "lru2"
      ? this.#ranks.after(key, COLDEST_BYTES)
      : this.#byLastAccess(key, COLDEST_BYTES);
  }

  async #byLastAccess(key: string, roomBytes?: number): Promise<OrderEntry[]> {
    const entries = await this.#kv.scan(this.#db.evictOrder, bytesOf(key), false, roomBytes);
    return entries.map(queueEntry);
  }

  /**
   * Makes the policy's order whole where it is not: after another policy, or another program's writes.
   * Runs before anything else uses the manifest.
   */
  async settleOrder(): Promise<void> {
    const files = this.#policy === "lru2" ? this.#kv.info(this.#db.evictOrder).entries : 0;
    if (!this.needsRecount && this.#ranks.size() === files) return;
    this.#ranks.clear();
    for (let after = ""; this.#policy === "lru2";) {
      const page = await this.#byLastAccess(after);
      for (const entry of page) this.#ranks.add(entry);
      await this.commit();
      if (page.length === 0) return;
      after = page.at(-1)!.key;
    }
    await this.commit();
  }

  /** Paths of tracked files, in byte order, after the given path ("" begins). */
  async pathsAfter(path: string): Promise<DepotPath[]> {
    const entries = await this.#kv.scan(this.#db.files, bytesOf(path), false);
    return entries.map(({ key }) => text(key) as DepotPath);
  }

  /** Every row as stored: for the recount of an environment that another program wrote. */
  async *rows(): AsyncGenerator<{ path: DepotPath; value: Uint8Array }> {
    for await (const { key, value } of this.#entries(this.#db.files)) {
      yield { path: text(key) as DepotPath, value };
    }
  }

  async *#entries(db: number): AsyncGenerator<KvEntry> {
    let after: Uint8Array = NO_BYTES;
    for (;;) {
      const entries = await this.#kv.scan(db, after, false);
      if (entries.length === 0) return;
      yield* entries;
      after = entries.at(-1)!.key;
    }
  }

  /** Staged operations that are not durable yet. */
  get pending(): number {
    return this.#staged.batch.count + (this.#committing?.batch.count ?? 0);
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

  /** Resolves when everything staged so far is durable; has that done now. */
  commit(): Promise<void> {
    if (this.#staged.batch.count > 0) {
      this.#staged.isAwaited = true;
      this.#hurry?.();
      return this.#staged.done.promise;
    }
    return this.#committing?.done.promise ?? Promise.resolve();
  }

  #wake(): void {
    this.#loop ??= this.#commitLoop();
  }

  async #commitLoop(): Promise<void> {
    do {
      await this.#gather();
      const stage = this.#staged;
      this.#staged = newStage();
      this.#committing = stage;
      const txn = this.#lastTxn + 1n;
      stage.batch.put(this.#db.meta, COUNTERS_KEY, this.#encodeCounters(txn));
      try {
        await this.#applyUntilDone(stage);
        stage.done.resolve();
      } catch (error) {
        stage.done.reject(error);
      }
      this.#committing = null;
    } while (this.#staged.batch.count > 0);
    this.#loop = null;
  }

  /** Waits for more changes, until somebody waits for those that are there. */
  async #gather(): Promise<void> {
    if (this.#closed || this.#staged.isAwaited) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = null;
  }

  async #applyUntilDone(stage: Stage): Promise<void> {
    for (let failed = false;;) {
      try {
        this.#lastTxn = await this.#kv.apply(stage.batch.bytes());
        if (failed) this.#onCommitError(null);
        return;
      } catch (error) {
        if (await this.#mended(error)) continue;
        failed = true;
        this.#onCommitError(error);
        if (this.#givingUp) throw error;
        await delay(COMMIT_RETRY_MS);
      }
    }
  }

  /** Opens the environment anew where that helps: larger when it is full, or after LMDB gave up on it. */
  async #mended(error: unknown): Promise<boolean> {
    if (!(error instanceof KvError)) return false;
    const isFull = error.code === KV_MAP_FULL;
    if (!isFull && error.code !== KV_PANIC) return false;
    try {
      const mapBytes = isFull ? this.#mapBytes * 2 : this.#mapBytes;
      await this.#kv.reopen(mapBytes);
      this.#mapBytes = mapBytes;
      return isFull; // after a panic the cause may last: not at once
    } catch {
      return false;
    }
  }

  #encodeCounters(txn: bigint): Uint8Array {
    const nextTrashId = this.#nextTrashId;
    const schema = { schema: SCHEMA, readableFrom: READABLE_FROM };
    const saved = { ...schema, txn: txn.toString(), ...this.counters, nextTrashId };
    return new TextEncoder().encode(JSON.stringify(saved));
  }

  /**
   * From now on a commit that fails is not tried again: the program ends. What was staged is lost as in
   * a crash, and found by the scan at the next start.
   */
  giveUp(): void {
    this.#givingUp = true;
  }

  /** Commits what is staged, where that is possible, and closes the environment. */
  async close(): Promise<void> {
    this.#closed = this.#givingUp = true;
    await this.commit().catch(() => {}); // told to onCommitError
    await this.#loop;
    this.#kv.close();
  }
}

const NO_BYTES = new Uint8Array(0);

interface SavedCounters extends Counters {
  readonly txn: string;
  readonly nextTrashId: number;
}

/** Null where there are none, or none that can be read: then rows are recounted. */
function parseCounters(bytes: Uint8Array | null): SavedCounters | null {
  if (bytes === null) return null;
  try {
    const saved = JSON.parse(new TextDecoder().decode(bytes));
    return saved.dirtyBytes === undefined ? null : saved;
  } catch {
    return null;
  }
}

function recordOf(row: Uint8Array | null, version: Uint8Array | null): FileRecord | null {
  if (row === null) return null;
  const decoded = decodeRow(row);
  const isVerified = decoded.state === CLEAN && version !== null;
  return { row: decoded, version: isVerified ? decodeVersion(version) : null };
}

function text(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

function bytesOf(key: string): Uint8Array {
  return Uint8Array.from(key, (c) => c.charCodeAt(0));
}

function queueEntry({ key }: KvEntry): { key: string; path: DepotPath; seconds: number } {
  const { seconds, path } = splitTimeKey(key);
  return { key: text(key), path: path as DepotPath, seconds };
}
