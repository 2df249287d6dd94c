/**
 * Two migrations to a third schema, and a program that is killed in the middle of them.
 *
 *     deno run -A migrating.ts <directory> <commit at which it ends by SIGKILL>
 *
 * @module
 */

import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import {
  type Migration,
  type MigrationStore,
  settleSchema,
} from "../../src/manifest/migrations.ts";
import { CLEAN, decodeRow, decodeVersion, encodeVersion } from "../../src/manifest/schema.ts";
import type { FileRecord } from "../../src/manifest/transitions.ts";

/** Files in the state that is migrated; some batches full. */
export const FILES = 25;
const BATCH = 10;

const MARK = "+3";

/** The record of one of the files. */
export function record(i: number): [DepotPath, FileRecord] {
  const row = { size: i, lastAccess: 1000 + i, createdAt: 1, state: CLEAN };
  const version = { size: i, mtimeNs: 1n, mode: 0o444, digest: "d", etag: "e" };
  return [`main/f${i},v` as DepotPath, { row, version }];
}

async function* batches(
  store: MigrationStore,
  from: string,
  change: (key: string, value: Uint8Array, batch: KvBatch) => void,
): AsyncIterable<KvBatch> {
  const db = store.database(from);
  let batch = new KvBatch();
  let after = new Uint8Array(0);
  for (;;) {
    const page = await store.scan(db, after, false);
    if (page.length === 0) break;
    for (const { key, value } of page) {
      change(new TextDecoder().decode(key), value, batch);
      if (batch.count < BATCH) continue;
      yield batch;
      batch = new KvBatch();
    }
    after = page.at(-1)!.key.slice();
  }
  yield batch;
}

/** One that older programs need not know of, and one that changes what they read. */
export const migrations: readonly Migration[] = [
  {
    to: 2,
    readableFrom: 1,
    changes: (store) => {
      const sizes = store.database("sizes");
      return batches(store, "files", (key, value, batch) => {
        batch.put(sizes, key, new TextEncoder().encode(String(decodeRow(value).size)));
      });
    },
  },
  {
    to: 3,
    readableFrom: 3,
    changes: (store) => {
      const versions = store.database("versions");
      return batches(store, "versions", (key, value, batch) => {
        const version = decodeVersion(value);
        if (version.etag.endsWith(MARK)) return;
        batch.put(versions, key, encodeVersion({ ...version, etag: version.etag + MARK }));
      });
    },
  },
];

/** How many versions the second migration has changed; none of them twice. */
export function markedVersions(dir: string): number {
  const kv = new Kv(dir, 0, { readOnly: true });
  const versions = kv.database("versions");
  let marked = 0;
  for (let i = 0; i < FILES; i++) {
    const { etag } = decodeVersion(kv.get(versions, record(i)[0])!);
    if (etag === "e" + MARK) marked++;
    else if (etag !== "e") throw new Error(`Changed more than once: ${etag}`);
  }
  kv.close();
  return marked;
}

if (import.meta.main) {
  const [dir, killAfter] = Deno.args;
  const kv = new Kv(dir!, 1024 ** 3);
  let commits = 0;
  const apply = async (bytes: Parameters<Kv["apply"]>[0]) => {
    const txn = await kv.apply(bytes);
    if (++commits === Number(killAfter)) Deno.kill(Deno.pid, "SIGKILL");
    return txn;
  };
  const store = {
    database: (name: string) => kv.database(name),
    get: (db: number, key: string) => kv.get(db, key),
    scan: (db: number, start: Uint8Array, inclusive: boolean) => kv.scan(db, start, inclusive),
    info: (db: number) => kv.info(db),
    apply,
  };
  await settleSchema(store, dir!, migrations);
  kv.close();
}
