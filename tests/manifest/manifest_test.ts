/** The invariants M1 to M4 of the manifest, and what it does after another program. @module */

import { assert, assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { EnvironmentError } from "../../src/errors.ts";
import { Manifest } from "../../src/manifest/manifest.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";
import { recount } from "../../src/manifest/recount.ts";
import { CLEAN, DIRTY, encodeRow, timeKey, UPLOADING } from "../../src/manifest/schema.ts";
import { accessed, restored, seen, uploaded } from "../../src/manifest/transitions.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";

const path = (text: string) => text as DepotPath;
const VERSION = { size: 7, mtimeNs: 123_456_789n, mode: 0o444, digest: "sha256:aa", etag: '"e"' };

function open(dir: string): Manifest {
  return openManifest(dir, (p) => "pfx/" + p, (error) => {
    throw error;
  });
}

async function withDir(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "manifest" });
  try {
    await test(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

async function keys(pages: (after: string) => Promise<{ key: string; path: string }[]>) {
  return (await pages("")).map((entry) => entry.path);
}

Deno.test("M1: a row is in the dirty queue while dirty and in the evict order while clean", () =>
  withDir(async (dir) => {
    const manifest = open(dir);
    const p = path("a,v");
    manifest.set(p, seen(null, 7, 100));
    await manifest.commit();
    assertEquals(await keys((k) => manifest.dirtyAfter(k)), ["a,v"]);
    assertEquals(await keys((k) => manifest.coldestAfter(k)), []);
    manifest.set(p, uploaded(manifest.get(p)!, VERSION, 200));
    await manifest.commit();
    assertEquals(await keys((k) => manifest.dirtyAfter(k)), []);
    assertEquals(await keys((k) => manifest.coldestAfter(k)), ["a,v"]);
    manifest.set(p, accessed(manifest.get(p)!, 300));
    await manifest.commit();
    assertEquals((await manifest.coldestAfter("")).map((e) => e.seconds), [300]);
    manifest.set(p, seen(manifest.get(p), 9, 400));
    await manifest.commit();
    assertEquals(await keys((k) => manifest.coldestAfter(k)), []);
    assertEquals((await manifest.dirtyAfter("")).map((e) => e.seconds), [400]);
    assertEquals(manifest.counters, { total: 1, dirty: 1, bytes: 9, dirtyBytes: 9 });
    await manifest.close();
  }));

Deno.test("M2: a write takes the version away, however alike the file looks", () =>
  withDir(async (dir) => {
    const manifest = open(dir);
    manifest.set(path("f"), restored(VERSION, 1));
    assertEquals(manifest.get("f")!.version, VERSION);
    manifest.set(path("f"), seen(manifest.get("f"), VERSION.size, 2));
    await manifest.commit();
    assertEquals(manifest.get("f")!.row.state, DIRTY);
    assertEquals(manifest.get("f")!.version, null);
    await manifest.close();
  }));

Deno.test("M4: deleting leaves a tombstone, writing again removes it", () =>
  withDir(async (dir) => {
    let manifest = open(dir);
    manifest.set(path("f"), seen(null, 1, 1));
    manifest.set(path("f"), null);
    manifest.setTombstone(path("f"), { deletedAtSeconds: 5, collected: false });
    assert(manifest.isTombstoned("f"));
    await manifest.close();
    manifest = open(dir);
    assert(manifest.isTombstoned("f"));
    assertEquals(manifest.get("f"), null);
    manifest.set(path("f"), seen(null, 1, 6));
    assert(!manifest.isTombstoned("f"));
    await manifest.close();
  }));

Deno.test("everything committed is there after reopening, counted without counting", () =>
  withDir(async (dir) => {
    let manifest = open(dir);
    assert(!manifest.needsRecount);
    for (let i = 0; i < 5000; i++) manifest.set(path(`d/${i}`), seen(null, i, 10));
    for (let i = 0; i < 1000; i++) {
      manifest.set(path(`d/${i}`), uploaded(manifest.get(`d/${i}`)!, { ...VERSION, size: i }, 11));
    }
    const counters = { ...manifest.counters };
    assertEquals(counters, {
      total: 5000,
      dirty: 4000,
      bytes: 4999 * 2500,
      dirtyBytes: 4999 * 2500 - 999 * 500,
    });
    await manifest.close();
    manifest = open(dir);
    assert(!manifest.needsRecount);
    assertEquals({ ...manifest.counters }, counters);
    assertEquals(manifest.get("d/999")!.version!.size, 999);
    let rows = 0;
    for await (const _ of manifest.rows()) rows++;
    assertEquals(rows, 5000);
    await manifest.close();
  }));

Deno.test("an environment that another program wrote is recounted; its cut-off uploads are dirty", () =>
  withDir(async (dir) => {
    const kv = new Kv(dir, 1 << 26);
    const files = kv.database("files"), order = kv.database("evict_order");
    kv.database("dirty_queue");
    const batch = new KvBatch();
    const row = (state: number) =>
      encodeRow({ size: 10, lastAccess: 3, createdAt: 2, state }, "pfx/x");
    batch.put(files, "uploading", row(UPLOADING));
    batch.put(files, "clean", row(CLEAN));
    batch.put(order, timeKey(3, "clean"), new Uint8Array(0));
    await kv.apply(batch.bytes());
    kv.close();

    const manifest = open(dir);
    assert(manifest.needsRecount);
    assertEquals(await recount(manifest), 1);
    assertEquals(manifest.counters, { total: 2, dirty: 1, bytes: 20, dirtyBytes: 10 });
    assertEquals(await keys((k) => manifest.dirtyAfter(k)), ["uploading"]);
    assertEquals(manifest.get("clean")!.version, null);
    await manifest.close();
    const again = open(dir);
    assert(!again.needsRecount);
    await again.close();
  }));

Deno.test("odd names survive: invalid UTF-8, newlines, the longest path", () =>
  withDir(async (dir) => {
    const names = ["\xff\xfe,v", "a\nb", "x".repeat(1960), " %#"].map(path);
    let manifest = open(dir);
    for (const name of names) manifest.set(name, seen(null, 1, 1));
    await manifest.close();
    manifest = open(dir);
    const found = (await manifest.dirtyAfter("")).map((entry) => entry.path);
    assertEquals(found.sort(), names.toSorted());
    await manifest.close();
  }));

Deno.test("a manifest cut short is refused with one line, and not touched", () =>
  withDir(async (dir) => {
    const manifest = open(dir);
    for (let i = 0; i < 2000; i++) manifest.set(path(`d/${i}`), seen(null, i, 10));
    await manifest.close();
    const data = Deno.readFileSync(`${dir}/data.mdb`);
    Deno.truncateSync(`${dir}/data.mdb`, Math.floor(data.length / 2));
    const error = assertThrows(() => open(dir), EnvironmentError, "damaged or cut short");
    assert(!error.message.includes("\n"));
    assertEquals(Deno.statSync(`${dir}/data.mdb`).size, Math.floor(data.length / 2));
  }));

Deno.test("a manifest of another data format is refused with what is allowed", () =>
  withDir(async (dir) => {
    const manifest = open(dir);
    manifest.set(path("f"), seen(null, 1, 1));
    await manifest.close();
    const data = Deno.readFileSync(`${dir}/data.mdb`);
    // The version follows the magic number in both meta pages (mdb.c, MDB_meta).
    const view = new DataView(data.buffer);
    for (const page of [0, 4096]) view.setUint32(page + 16 + 4, 2, true);
    Deno.writeFileSync(`${dir}/data.mdb`, data);
    assertThrows(() => open(dir), EnvironmentError, "only LMDB data format 1 is allowed");
  }));

Deno.test("what is read ahead is never older than a change", () =>
  withDir(async (dir) => {
    const manifest = open(dir);
    const paths = ["a", "b", "none"].map(path);
    const sizes = () => paths.map((p) => manifest.get(p)?.row.size ?? null);
    for (const p of paths.slice(0, 2)) manifest.set(p, restored(VERSION, 1));
    manifest.preload(paths);
    assertEquals(sizes(), [7, 7, null], "changes on their way");
    const committed = manifest.commit();
    manifest.preload(paths);
    manifest.set(path("a"), seen(manifest.get("a"), 9, 2));
    await committed;
    assertEquals(sizes(), [9, 7, null]);
    await manifest.commit();
    assertEquals(sizes(), [9, 7, null]);
    manifest.preload(paths);
    assertEquals(manifest.get("b")?.version, VERSION);
    assertEquals(manifest.get("a")?.version, null);
    manifest.set(path("b"), null);
    manifest.set(path("none"), seen(null, 1, 3));
    assertEquals(sizes(), [9, null, 1]);
    await manifest.commit();
    assertEquals(sizes(), [9, null, 1]);
    await manifest.close();
  }));
