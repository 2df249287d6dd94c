/**
 * The access log: when each file of the depot was opened last, kept on disk.
 *
 * An LMDB environment of its own (contract, "State directory"): its unnamed database holds
 *
 *     path bytes → seconds since the epoch, u64 little endian
 *
 * Accesses gather in memory, one entry a path, and are written many at a time, off the event loop:
 * when there is a batch of them, and when the oldest waits for too long. The environment is opened
 * relaxed: a crash of the machine may undo the writes since the latest sync, and nothing else.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { Kv, KV_MAP_FULL, KvError } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { pathFromBytes } from "../depot_path.ts";
import type { Metrics } from "../observe/metrics.ts";

/** Where the log is, and how it is written. */
export interface AccessLogOptions {
  /** Existing directory, one character per byte. */
  readonly dir: string;
  readonly mapBytes: number;
  /** Accesses written at once; as many again gather meanwhile. */
  readonly batchSize: number;
  /** Longest time from an access to its being in the database, ms. */
  readonly flushMs: number;
  readonly syncMs: number;
  /** Entries older than this are removed; 0: none ever. */
  readonly retentionSeconds: number;
  readonly nowSeconds: () => number;
  readonly metrics: Pick<Metrics, "accessBatch" | "accessesDropped">;
  /** Told why a batch could not be written; its accesses are dropped. */
  readonly onError: (error: unknown) => void;
}

/** Share of the flush interval after which a write begins: the rest is for the write. */
const FLUSH_SHARE = 0.8;

/** Time between two walks that remove old entries, ms. */
const PRUNE_INTERVAL_MS = 3_600_000;

/** Rest between two pages of such a walk, ms: it is in no hurry. */
const PRUNE_REST_MS = 10;

const VALUE_BYTES = 8;

type Pending = Map<string, number>;

/** See the module's description. Paths are one character per byte. */
export class AccessLog {
  readonly #kv: Kv;
  readonly #db: number;
  readonly #options: AccessLogOptions;
  #pending: Pending = new Map();
  #writing: Pending | null = null;
  /** The latest of the writes, which take turns. */
  #turn: Promise<void> = Promise.resolve();
  /** The write of the latest batch that was full. */
  #fullBatch: Promise<void> = Promise.resolve();
  #flushTimer: number | null = null;
  readonly #timers: number[] = [];
  #pruning: Promise<void> = Promise.resolve();
  #closed = false;

  /**
   * Opens or creates the log.
   * @throws KvError naming the directory.
   */
  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#kv = new Kv(options.dir, options.mapBytes, { relaxed: true });
    try {
      this.#db = this.#kv.database("");
    } catch (error) {
      this.#kv.close();
      throw error;
    }
    this.#timers.push(setInterval(() => this.#inTurn(() => this.#kv.sync()), options.syncMs));
    if (options.retentionSeconds > 0) {
      this.#startPruning();
      this.#timers.push(setInterval(() => this.#startPruning(), PRUNE_INTERVAL_MS));
    }
  }

  /** Bytes of the database in use, what it may grow to, and dead readers that were forgotten. */
  usage(): { usedBytes: number; mapBytes: number; staleReaders: number } {
    const { usedBytes, mapBytes, staleReaders } = this.#kv.info(this.#db);
    return { usedBytes, mapBytes, staleReaders };
  }

  /** Writes the log as it is, with what was noted so far, to a new file; see {@link Kv.copyTo}. */
  async copyTo(path: string, isCompact: boolean): Promise<void> {
    await this.flush();
    await this.#kv.copyTo(path, isCompact);
  }

  /** Files that have an entry in the database. */
  get entries(): number {
    return this.#kv.info(this.#db).entries;
  }

  /** When the path was opened last, seconds since the epoch; 0 when that is not known. */
  lastAccess(path: string): number {
    const recent = this.#pending.get(path) ?? this.#writing?.get(path);
    if (recent !== undefined) return recent;
    const value = this.#kv.get(this.#db, path);
    return value?.length === VALUE_BYTES ? secondsOf(value) : 0;
  }

  /**
   * Notes that the paths were opened just now.
   * @returns when there is room for more: whoever reads accesses from somewhere waits for it.
   */
  async note(paths: readonly string[]): Promise<void> {
    const { nowSeconds, batchSize, flushMs } = this.#options;
    const now = nowSeconds();
    for (const path of paths) this.#pending.set(path, now);
    if (this.#pending.size >= batchSize) {
      await this.#fullBatch;
      this.#fullBatch = this.flush();
    } else {
      this.#flushTimer ??= setTimeout(() => void this.flush(), flushMs * FLUSH_SHARE);
    }
  }

  /** Writes what was noted so far; resolves when it is in the database. */
  flush(): Promise<void> {
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#flushTimer = null;
    return this.#inTurn(() => this.#writePending());
  }

  async #writePending(): Promise<void> {
    if (this.#pending.size === 0) return;
    const { metrics } = this.#options;
    const begun = performance.now();
    const accesses = this.#pending;
    this.#writing = accesses;
    this.#pending = new Map();
    try {
      const batch = new KvBatch();
      for (const [path, seconds] of accesses) batch.put(this.#db, path, valueOf(seconds));
      await this.#kv.apply(batch.bytes());
      metrics.accessBatch((performance.now() - begun) / 1000);
    } catch (error) {
      metrics.accessesDropped(accesses.size);
      throw error;
    } finally {
      this.#writing = null;
    }
  }

  /** Runs when the work before is done; what it throws is told and forgotten. */
  #inTurn(work: () => Promise<void>): Promise<void> {
    this.#turn = this.#turn.then(work).catch((error) => this.#options.onError(explained(error)));
    return this.#turn;
  }

  #startPruning(): void {
    this.#pruning = this.#pruning.then(() => this.prune());
  }

  /** Removes entries that are older than the retention, a page at a time. */
  async prune(): Promise<void> {
    const oldest = this.#options.nowSeconds() - this.#options.retentionSeconds;
    let after: Uint8Array | null = new Uint8Array(0);
    while (after !== null && !this.#closed) {
      const start: Uint8Array = after;
      after = null;
      await this.#inTurn(async () => {
        after = await this.#prunePage(start, oldest);
      });
      await delay(PRUNE_REST_MS);
    }
  }

  /** Returns the last key of the page, null at the end. */
  async #prunePage(after: Uint8Array, oldest: number): Promise<Uint8Array | null> {
    const entries = await this.#kv.scan(this.#db, after, false);
    const batch = new KvBatch();
    for (const { key, value } of entries) {
      if (value.length !== VALUE_BYTES || secondsOf(value) >= oldest) continue;
      batch.delete(this.#db, pathFromBytes(key));
    }
    if (batch.count > 0) await this.#kv.apply(batch.bytes());
    return entries.at(-1)?.key ?? null;
  }

  /** Writes what was noted, makes it durable and closes the log. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const timer of this.#timers) clearInterval(timer);
    await this.#pruning;
    await this.flush();
    await this.#inTurn(() => this.#kv.sync());
    this.#kv.close();
  }
}

function valueOf(seconds: number): Uint8Array {
  const value = new Uint8Array(VALUE_BYTES);
  new DataView(value.buffer).setBigUint64(0, BigInt(seconds), true);
  return value;
}

function secondsOf(value: Uint8Array): number {
  const view = new DataView(value.buffer, value.byteOffset, VALUE_BYTES);
  return Number(view.getBigUint64(0, true));
}

function explained(error: unknown): unknown {
  if (!(error instanceof KvError) || error.code !== KV_MAP_FULL) return error;
  return new KvError(
    error.code,
    `${error.message}; raise access_mapsize_gb, or let access_retention_days remove old entries`,
  );
}
