/**
 * Makes manifests of many clean files, whose files are nowhere: what scale_bench.ts starts daemons over.
 *
 * The rows are written as the daemon writes them, in all of its databases, by the same code; only they
 * are not looked up one by one before, as a change of a record is.
 *
 * @module
 */

import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { encodeCounters } from "../../src/manifest/counters.ts";
import { rankOf } from "../../src/manifest/rank.ts";
import {
  CLEAN,
  COUNTERS_KEY,
  DATABASES,
  encodeRow,
  encodeVersion,
  timeKey,
} from "../../src/manifest/schema.ts";

/** Files in each directory. */
const DIRECTORY_FILES = 2000;

/** Rows of one transaction. */
const BATCH_ROWS = 400_000;

/** The last accesses are spread over this time before now, s. */
const ACCESSED_SECONDS = 30 * 86_400;

const FILE_BYTES = 4096, MAP_BYTES = 1024 ** 4;
const DIGEST = "sha256:" + "0".repeat(64);

/** The path of file number `i`, in the order of bytes. */
export function pathOf(i: number): DepotPath {
  const dir = String(Math.floor(i / DIRECTORY_FILES)).padStart(6, "0");
  const file = String(i % DIRECTORY_FILES).padStart(4, "0");
  return `depot/main/${dir}/file${file}.c,v` as DepotPath;
}

/**
 * Fills an environment in an existing directory.
 * @param rows A multiple of 2,000.
 * @param onProgress Told of the share that is done.
 * @throws KvError naming the directory.
 */
export async function fillManifest(
  dir: string,
  rows: number,
  onProgress: (share: number) => void,
): Promise<void> {
  const kv = new Kv(dir, MAP_BYTES, { relaxed: true });
  try {
    await new Filling(kv, rows, onProgress).run();
  } finally {
    kv.close();
  }
}

class Filling {
  readonly #kv: Kv;
  readonly #rows: number;
  readonly #directories: number;
  readonly #begunSeconds = Math.floor(Date.now() / 1000) - ACCESSED_SECONDS;
  readonly #onProgress: (share: number) => void;
  #applying: Promise<unknown> = Promise.resolve();
  #batches = 0;

  constructor(kv: Kv, rows: number, onProgress: (share: number) => void) {
    this.#kv = kv;
    this.#rows = rows;
    this.#directories = rows / DIRECTORY_FILES;
    this.#onProgress = onProgress;
  }

  async run(): Promise<void> {
    const kv = this.#kv;
    const meta = kv.database("meta");
    kv.prepare(DATABASES);
    const files = kv.database("files"), versions = kv.database("versions");
    const byAccess = kv.database("evict_order"), byRank = kv.database("evict_rank");
    const nothing = new Uint8Array(0);
    await this.#each((batch, i) => {
      const path = pathOf(i), lastAccess = this.#accessedAt(this.#placeOf(i));
      const row = { size: FILE_BYTES, lastAccess, createdAt: lastAccess, state: CLEAN };
      batch.put(files, path, encodeRow(row, path));
    });
    await this.#each((batch, i) => {
      const mtimeNs = BigInt(this.#begunSeconds) * 1_000_000_000n;
      const known = { size: FILE_BYTES, mtimeNs, mode: 0o444, digest: DIGEST, etag: `"${i}"` };
      batch.put(versions, pathOf(i), encodeVersion(known));
    });
    await this.#each((batch, place) => {
      batch.put(byAccess, timeKey(this.#accessedAt(place), this.#pathAt(place)), nothing);
    });
    await this.#each((batch, place) => {
      const rank = rankOf(this.#accessedAt(place), 0);
      batch.put(byRank, timeKey(rank, this.#pathAt(place)), nothing);
    });
    await this.#applying;
    const bytes = this.#rows * FILE_BYTES;
    const counters = { total: this.#rows, dirty: 0, bytes, dirtyBytes: 0 };
    const last = new KvBatch(), txn = kv.info(meta).lastTxn + 1n;
    last.put(meta, COUNTERS_KEY, encodeCounters(counters, 1, txn, null));
    await kv.apply(last.bytes());
  }

  /** One entry for each file: the next batch is packed while one is applied. */
  async #each(add: (batch: KvBatch, i: number) => void): Promise<void> {
    for (let i = 0; i < this.#rows;) {
      const batch = new KvBatch(), end = Math.min(this.#rows, i + BATCH_ROWS);
      for (; i < end; i++) add(batch, i);
      await this.#applying;
      this.#applying = this.#kv.apply(batch.bytes());
      this.#onProgress(++this.#batches * BATCH_ROWS / (4 * this.#rows));
    }
  }

  /** The accesses went through the directories again and again, and took one file of each. */
  #placeOf(i: number): number {
    return i % DIRECTORY_FILES * this.#directories + Math.floor(i / DIRECTORY_FILES);
  }

  /** The path of what {@link #placeOf} put at this place. */
  #pathAt(place: number): DepotPath {
    const file = Math.floor(place / this.#directories), dir = place % this.#directories;
    return pathOf(dir * DIRECTORY_FILES + file);
  }

  #accessedAt(place: number): number {
    return this.#begunSeconds + Math.floor(place * ACCESSED_SECONDS / this.#rows);
  }
}
