/**
 * An LMDB environment whose changes are staged in memory and committed in groups, one durable
 * transaction each, off the event loop.
 *
 * A commit that fails is tried again until it succeeds: what is staged stays visible meanwhile. Who relies on
 * a change waits until it is durable (P1).
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import type { FoundFiles } from "../../ffi/found_files.ts";
import { type Kv, KV_MAP_FULL, KV_PANIC, KvError } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";

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

/** Committed entries of all keys that begin with the prefix, in byte order. */
export async function* entriesBelow(
  table: Pick<Table, "after">,
  prefix: string,
): AsyncGenerator<{ key: string; value: Uint8Array }> {
  for (let after = prefix;;) {
    const page = await table.after(after);
    for (const entry of page) {
      if (!entry.key.startsWith(prefix)) return;
      yield entry;
    }
    if (page.length === 0) return;
    after = page.at(-1)!.key;
  }
}

/**
 * Longest time that changes gather while nobody waits for them, ms: each commit syncs the disk that
 * p4d writes to, so few and large ones leave it the most.
 */
const GATHER_MS = 100;

/**
 * Changes that wait for no more of them: a larger group saves little, and nobody uses the time that it gathers.
 * A walk finds as many in a tenth of a second.
 */
const MANY = 20_000;

/** Wait before a failed commit is tried again, ms. */
const COMMIT_RETRY_MS = 1000;

/** What it needs of the environment. */
export type CommitStore = Pick<Kv, "get" | "values" | "scan" | "info" | "apply" | "reopen">;

/** Rows that are staged together, without an object for each. */
export interface FoundRows<Row> {
  readonly files: FoundFiles;
  readonly row: (size: number) => Row;
}

interface Stage<Row> {
  /** Decoded rows, so that a change of a moment ago is not decoded again; null: removed. */
  readonly rows: Map<string, Row | null>;
  /** Those of found files, where `rows` has nothing newer. */
  readonly found: FoundRows<Row>[];
  /** Changes of the tables: database number, then key. */
  readonly tables: Map<number, Map<string, Uint8Array | null>>;
  readonly batch: KvBatch;
  readonly done: PromiseWithResolvers<void>;
  /** Whether somebody waits until it is durable. */
  isAwaited: boolean;
}

function newStage<Row>(): Stage<Row> {
  const done = Promise.withResolvers<void>();
  done.promise.catch(() => {}); // waited for only by those who need durability
  const batch = new KvBatch();
  return { rows: new Map(), found: [], tables: new Map(), batch, done, isAwaited: false };
}

/** What changed since it was begun, and what was on its way to the environment then; end it. */
export class ChangeWatch {
  readonly #stages: Pick<Stage<unknown>, "rows" | "found" | "tables">[] = [];
  readonly end: () => void;

  /** @param end Ends it. */
  constructor(end: (watch: ChangeWatch) => void) {
    this.end = () => end(this);
  }

  add(stage: Pick<Stage<unknown>, "rows" | "found" | "tables">): void {
    this.#stages.push(stage);
  }

  /** Whether one of the files is among it, by its path: as a row, or as a key of a table. */
  has(files: FoundFiles): boolean {
    const isIn = (key: string) => files.sizeOf(key) !== null;
    return this.#stages.some(({ rows, found, tables }) =>
      rows.keys().some(isIn) || found.some((others) => others.files.sharesPath(files)) ||
      tables.values().some((table) => table.keys().some(isIn))
    );
  }
}

/** See the module's description. @template Row What {@link stage} keeps beside the stored bytes. */
export class GroupCommit<Row> {
  readonly #kv: CommitStore;
  readonly #onError: (error: unknown) => void;
  readonly #seal: (batch: KvBatch, txn: bigint) => void;
  #staged = newStage<Row>();
  #committing: Stage<Row> | null = null;
  #loop: Promise<void> | null = null;
  #hurry: (() => void) | null = null;
  readonly #watches = new Set<ChangeWatch>();
  #closed = false;
  #givingUp = false;
  #lastTxn: bigint;
  #mapBytes: number;

  /**
   * @param opened The environment's last transaction, and how large its map is.
   * @param onError Told of each failed commit, which is tried again until it succeeds, and then once
   *   with null.
   * @param seal Adds to a group what every transaction ends with; `txn` is its number.
   */
  constructor(
    kv: CommitStore,
    opened: { readonly lastTxn: bigint; readonly mapBytes: number },
    onError: (error: unknown) => void,
    seal: (batch: KvBatch, txn: bigint) => void,
  ) {
    this.#kv = kv;
    this.#lastTxn = opened.lastTxn;
    this.#mapBytes = opened.mapBytes;
    this.#onError = onError;
    this.#seal = seal;
  }

  put(db: number, key: string, value: Uint8Array): void {
    this.#staged.batch.put(db, key, value);
    this.#wake();
  }

  delete(db: number, key: string): void {
    this.#staged.batch.delete(db, key);
    this.#wake();
  }

  /** Keeps the row in sight until its bytes, which are put beside it, are committed. */
  stage(key: string, row: Row | null): void {
    this.#staged.rows.set(key, row);
    this.#wake();
  }

  /**
   * Keeps the rows of found files in sight, until they are committed by what was put for them in
   * {@link putFound}. None of them has a row yet.
   */
  stageFound(rows: FoundRows<Row>): void {
    this.#staged.found.push(rows);
    this.#wake();
  }

  /** See {@link KvBatch.putFound}. */
  putFound(files: number, queue: number, keyPrefix: string, seconds: number, found: FoundFiles) {
    this.#staged.batch.putFound(files, queue, keyPrefix, seconds, found);
    this.#wake();
  }

  /** The row as {@link stage} left it; undefined when it is as the environment has it. */
  staged(key: string): Row | null | undefined {
    const row = rowIn(this.#staged, key);
    return row === undefined && this.#committing !== null ? rowIn(this.#committing, key) : row;
  }

  /** Begins a watch over all changes. */
  watch(): ChangeWatch {
    const watch = new ChangeWatch((ended) => this.#watches.delete(ended));
    if (this.#committing !== null) watch.add(this.#committing);
    watch.add(this.#staged);
    this.#watches.add(watch);
    return watch;
  }

  /** Whether a change of the table's key is on its way. */
  isChanging(db: number, key: string): boolean {
    return [this.#staged, this.#committing].some((stage) => stage?.tables.get(db)?.has(key));
  }

  /** The database as a table that shows staged changes. */
  table(db: number): Table {
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
        const settled = keys.filter((key) => !this.isChanging(db, key));
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

  /** Staged operations that are not durable yet. */
  get pending(): number {
    return this.#staged.batch.count + (this.#committing?.batch.count ?? 0);
  }

  /** Resolves when no more than so many operations are staged; has them committed until then. */
  async settleTo(most: number): Promise<void> {
    while (this.pending > most) {
      const committing = this.#committing?.done.promise;
      await (committing ?? this.commit());
    }
  }

  /** Resolves when everything staged so far is durable; has that done now. */
  commit(): Promise<void> {
    if (this.#staged.batch.count > 0) {
      this.#staged.isAwaited = true;
      this.#hurry?.();
    }
    return this.durable();
  }

  /** Resolves when everything staged so far is durable, in its own time. */
  durable(): Promise<void> {
    if (this.#staged.batch.count > 0) return this.#staged.done.promise;
    return this.#committing?.done.promise ?? Promise.resolve();
  }

  /** As {@link commit}; false when that takes longer than so many ms. It goes on then. */
  async commitWithin(ms: number): Promise<boolean> {
    let timer = 0;
    const late = new Promise<false>((resolve) => timer = setTimeout(resolve, ms, false));
    try {
      return await Promise.race([this.commit().then(() => true), late]);
    } finally {
      clearTimeout(timer);
    }
  }

  #wake(): void {
    this.#loop ??= this.#commitLoop();
    if (this.#staged.batch.count >= MANY) this.#hurry?.();
  }

  async #commitLoop(): Promise<void> {
    do {
      await this.#gather();
      const stage = this.#staged;
      this.#staged = newStage<Row>();
      for (const watch of this.#watches) watch.add(this.#staged);
      this.#committing = stage;
      const txn = this.#lastTxn + 1n;
      this.#seal(stage.batch, txn);
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

  /** Waits for more changes, until somebody waits for those that are there, or they are many. */
  async #gather(): Promise<void> {
    const { isAwaited, batch } = this.#staged;
    if (this.#closed || isAwaited || batch.count >= MANY) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, GATHER_MS);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = null;
  }

  async #applyUntilDone(stage: Stage<Row>): Promise<void> {
    for (let failed = false;;) {
      try {
        this.#lastTxn = await this.#kv.apply(stage.batch.bytes());
        if (failed) this.#onError(null);
        return;
      } catch (error) {
        if (await this.#mended(error)) continue;
        failed = true;
        this.#onError(error);
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

  /**
   * From now on a commit that fails is not tried again: the program ends. What was staged is lost as in
   * a crash, and found by the scan at the next start.
   */
  giveUp(): void {
    this.#givingUp = true;
  }

  /** Commits what is staged, where that is possible. The environment can be closed then. */
  async close(): Promise<void> {
    this.#closed = this.#givingUp = true;
    await this.commit().catch(() => {}); // told to onError
    await this.#loop;
  }
}

function rowIn<Row>({ rows, found }: Stage<Row>, key: string): Row | null | undefined {
  const row = rows.get(key);
  if (row !== undefined) return row;
  for (const { files, row } of found) {
    const size = files.sizeOf(key);
    if (size !== null) return row(size);
  }
  return undefined;
}

/** A key of bytes as text, one character each. */
export function text(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}

/** A key as bytes. */
export function bytesOf(key: string): Uint8Array {
  const bytes = new Uint8Array(key.length);
  for (let i = 0; i < key.length; i++) bytes[i] = key.charCodeAt(i);
  return bytes;
}
