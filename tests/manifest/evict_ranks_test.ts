/**
 * The order of eviction on disk: whole after every change, policy, and other program.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";
import {
  type EvictPolicy,
  previousAfter,
  previousOfRestored,
  rankOf,
} from "../../src/manifest/rank.ts";
import { recount } from "../../src/manifest/recount.ts";
import { CLEAN, encodeRow, timeKey } from "../../src/manifest/schema.ts";
import { accessed, restored, seen, uploaded } from "../../src/manifest/transitions.ts";

const VERSION = { size: 7, mtimeNs: 1n, mode: 0o444, digest: "sha256:aa", etag: '"e"' };
const DAY = 86_400;

function open(dir: string, policy: EvictPolicy): Manifest {
  const onCommitError = (error: unknown) => {
    if (error !== null) throw error;
  };
  return openManifest(dir, (path) => path, onCommitError, policy);
}

async function withDir(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "ranks" });
  try {
    await test(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

async function order(manifest: Manifest): Promise<[string, number][]> {
  await manifest.commit();
  return (await manifest.coldestAfter("")).map(({ path, seconds }) => [path, seconds]);
}

/** Entries of a database as another program sees them. */
async function keys(dir: string, name: string): Promise<string[]> {
  const kv = new Kv(dir, 0, { readOnly: true });
  const entries = await kv.scan(kv.database(name), new Uint8Array(0), true);
  kv.close();
  return entries.map(({ key }) => String.fromCharCode(...key));
}

Deno.test("a file read twice goes after one read once, and the last of many reads in a row is one", () => {
  const now = 2_000_000_000;
  assertEquals(rankOf(now, 0) < rankOf(now - DAY, now - DAY - 10), true);
  assertEquals(rankOf(now, 0) > rankOf(now - 4 * DAY, now - 5 * DAY), true, "long ago counts less");
  assertEquals(rankOf(100, 0), 0);
  assertEquals(previousAfter(now, 7, now + 1), 7);
  assertEquals(previousAfter(now, 7, now + 60), now);
  assertEquals(previousOfRestored(now - 3600, now), now - 3600);
  assertEquals(previousOfRestored(now - DAY, now), 0, "last night's walk");
});

Deno.test("M5: every clean row has one entry, under the rank of its accesses; evict_order is untouched", () =>
  withDir(async (dir) => {
    const T = 1_000_000_000;
    const manifest = open(dir, "lru2");
    await manifest.settleOrder();
    const a = "a" as DepotPath, b = "b" as DepotPath;
    manifest.set(a, seen(null, 7, T));
    assertEquals(await order(manifest), []);
    manifest.set(a, uploaded(manifest.get(a)!, VERSION, T + 100));
    assertEquals(await order(manifest), [["a", T + 100 - 2 * DAY]], "an upload is no access");
    manifest.set(a, accessed(manifest.get(a)!, T + 200));
    assertEquals(await order(manifest), [["a", T + 100]]);
    manifest.set(b, restored(VERSION, T + 300), T + 50);
    assertEquals(await order(manifest), [["b", T + 50], ["a", T + 100]]);
    manifest.set(a, seen(manifest.get(a), 9, T + 400));
    assertEquals(await order(manifest), [["b", T + 50]]);
    manifest.set(a, uploaded(manifest.get(a)!, VERSION, T + 500));
    assertEquals(await order(manifest), [["b", T + 50], ["a", T + 200]], "kept through a write");
    manifest.set(b, null);
    assertEquals(await order(manifest), [["a", T + 200]]);
    await manifest.close();
    assertEquals(await keys(dir, "evict_order"), [timeKey(T + 500, "a")]);
    assertEquals(await keys(dir, "previous"), ["a"]);
  }));

Deno.test("the order is made anew after the other policy, and after another program wrote", () =>
  withDir(async (dir) => {
    const T = 1_000_000_000;
    let manifest = open(dir, "lru");
    for (let i = 0; i < 3; i++) manifest.set(`f${i}` as DepotPath, restored(VERSION, T - i));
    assertEquals(await order(manifest), [["f2", T - 2], ["f1", T - 1], ["f0", T]]);
    await manifest.close();
    assertEquals(await keys(dir, "evict_rank"), []);

    manifest = open(dir, "lru2");
    await manifest.settleOrder();
    assertEquals((await order(manifest)).map(([path]) => path), ["f2", "f1", "f0"]);
    manifest.set("f2" as DepotPath, accessed(manifest.get("f2")!, T + 10));
    assertEquals((await order(manifest)).map(([path]) => path), ["f1", "f0", "f2"]);
    await manifest.close();

    const kv = new Kv(dir, 1 << 30);
    const files = kv.database("files"), evictOrder = kv.database("evict_order");
    const batch = new KvBatch();
    const row = { size: 7, lastAccess: T + 20, createdAt: T, state: CLEAN };
    batch.put(files, "theirs", encodeRow(row, "theirs"));
    batch.put(evictOrder, timeKey(T + 20, "theirs"), new Uint8Array(0));
    batch.delete(files, "f0");
    batch.delete(evictOrder, timeKey(T, "f0"));
    await kv.apply(batch.bytes());
    kv.close();
    manifest = open(dir, "lru2");
    await recount(manifest);
    await manifest.settleOrder();
    assertEquals((await order(manifest)).map(([path]) => path), ["f1", "f2", "theirs"]);
    await manifest.close();

    manifest = open(dir, "lru");
    await manifest.settleOrder();
    await manifest.close();
    assertEquals(await keys(dir, "evict_rank"), []);
    assertEquals(await keys(dir, "previous"), []);
  }));
