/** Reads of an LMDB environment: each has its own answer. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { bytesOf, text } from "../../src/manifest/group_commit.ts";

/** Runs with an environment whose database has these keys, each with the key as value. */
async function withKeys(keys: readonly string[], use: (kv: Kv, db: number) => Promise<void>) {
  const dir = Deno.makeTempDirSync();
  const kv = new Kv(dir, 1024 ** 3);
  try {
    const db = kv.database("rows"), batch = new KvBatch();
    for (const key of keys) batch.put(db, key, bytesOf(key));
    await kv.apply(batch.bytes());
    await use(kv, db);
  } finally {
    kv.close();
    Deno.removeSync(dir, { recursive: true });
  }
}

Deno.test("what scans found stays as it was, whatever other scans run beside or after them", async () => {
  const keys = Array.from({ length: 2000 }, (_, i) => String(i).padStart(6, "0"));
  await withKeys(keys, async (kv, db) => {
    const begins = [0, 500, 1000, 1500];
    const scan = (from: number) => kv.scan(db, bytesOf(keys[from]!), true);
    const beside = await Promise.all(begins.map(scan));
    const after = [await scan(0), await scan(1999)];
    for (const [i, entries] of [...beside, ...after].entries()) {
      const expected = keys.slice([...begins, 0, 1999][i]!);
      assertEquals(entries.map(({ key }) => text(key)), expected);
      assertEquals(entries.map(({ value }) => text(value)), expected);
    }
  });
});

Deno.test("a scan with little room gives what fits, and one after the last entry nothing", async () => {
  await withKeys(["a", "b", "c"], async (kv, db) => {
    const first = await kv.scan(db, new Uint8Array(0), false, 2 * (8 + 2));
    assertEquals(first.map(({ key }) => text(key)), ["a", "b"]);
    assertEquals(await kv.scan(db, bytesOf("c"), false), []);
  });
});

Deno.test("a group of any size arrives whole", async () => {
  const keys = Array.from({ length: 300 }, (_, i) => `${"long/".repeat(200)}${i}`).sort();
  await withKeys(keys, async (kv, db) => {
    assertEquals(kv.values(db, keys).map((value) => text(value!)), keys);
    await Promise.resolve();
  });
});
