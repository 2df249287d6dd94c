/** States of other versions of the program. @module */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { EnvironmentError } from "../../src/errors.ts";
import { isComplete } from "../../src/manifest/migrations.ts";
import { migrateManifest, openManifest } from "../../src/manifest/open_manifest.ts";
import { FILES, markedVersions, migrations, record } from "./migrating.ts";

const CHILD = new URL("migrating.ts", import.meta.url).pathname;

function open(dir: string) {
  return openManifest(dir, (path) => path, (error) => {
    throw error;
  });
}

/** A state of the first schema, in a temporary directory. */
async function withState(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync();
  try {
    const manifest = open(dir);
    for (let i = 0; i < FILES; i++) manifest.set(...record(i));
    await manifest.close();
    await test(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function withKv<Result>(dir: string, use: (kv: Kv) => Result): Result {
  const kv = new Kv(dir, 1024 ** 3);
  const result = use(kv);
  if (result instanceof Promise) return result.finally(() => kv.close()) as Result;
  kv.close();
  return result;
}

function savedSchema(dir: string): { schema: number; readableFrom: number } {
  return withKv(
    dir,
    (kv) => JSON.parse(new TextDecoder().decode(kv.get(kv.database("meta"), "counters")!)),
  );
}

function entries(dir: string, name: string): number {
  return withKv(dir, (kv) => kv.info(kv.database(name)).entries);
}

async function migrateInChild(dir: string, killAfter: number): Promise<boolean> {
  const { success, signal } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", CHILD, dir, String(killAfter)],
    stdin: "null",
  }).output();
  if (!success && signal !== "SIGKILL") throw new Error(`The child ended by ${signal}`);
  return success;
}

Deno.test("the list of migrations leads from the first schema to the one that is written", () => {
  assertEquals(isComplete(), true);
  assertEquals(isComplete(migrations), false);
});

Deno.test("P1: a migration that is killed after any of its steps is done at the next start", async () => {
  let steps = 0;
  for (let isKilled = true; isKilled;) {
    steps++;
    await withState(async (dir) => {
      isKilled = !await migrateInChild(dir, steps);
      // What the second migration changes in place, programs of the first schema must not see.
      if (markedVersions(dir) > 0 || savedSchema(dir).readableFrom === 3) {
        await assertRejects(() => migrateManifest(dir), EnvironmentError, "a newer p4-cache");
      } else await migrateManifest(dir);
      await migrateManifest(dir, migrations);
      const { schema, readableFrom } = savedSchema(dir);
      assertEquals([schema, readableFrom, markedVersions(dir)], [3, 3, FILES]);
      const manifest = open(dir);
      assertEquals([manifest.needsRecount, manifest.counters.total], [false, FILES]);
      await manifest.close();
    });
  }
  assertEquals(steps, 11);
});

Deno.test("a state that is too new is refused in one line, and not a byte of it is changed", () =>
  withState(async (dir) => {
    await migrateManifest(dir, migrations);
    const before = Deno.readFileSync(`${dir}/data.mdb`);
    const error = await assertRejects(() => migrateManifest(dir), EnvironmentError);
    assertEquals(
      error.message,
      `Cannot open the state in ${dir}: a newer p4-cache wrote it (schema 3, readable from 3 on; ` +
        "this program has 1); install the newer one again, nothing was changed",
    );
    assertEquals(Deno.readFileSync(`${dir}/data.mdb`), before);
  }));

Deno.test("a newer state that may be read is, and what we did not keep up is made anew later", () =>
  withState(async (dir) => {
    const additive = migrations.slice(0, 1);
    assertEquals(await migrateManifest(dir, additive), { from: 1, to: 2 });
    assertEquals(await migrateManifest(dir, additive), null);
    assertEquals(await migrateManifest(dir), { from: 2, to: 1 });
    const older = open(dir);
    assertEquals(older.needsRecount, false);
    older.set(...record(FILES));
    await older.close();
    assertEquals(await migrateManifest(dir, additive), { from: 1, to: 2 });
    assertEquals(entries(dir, "sizes"), FILES + 1);
  }));

Deno.test("what another program wrote after a migration is migrated, too", () =>
  withState(async (dir) => {
    const additive = migrations.slice(0, 1);
    await migrateManifest(dir, additive);
    // As the C++ implementation: it writes rows, and leaves "meta" as it was.
    const saved = withKv(dir, (kv) => kv.get(kv.database("meta"), "counters")!.slice());
    const other = open(dir);
    other.set(...record(FILES));
    await other.close();
    await withKv(dir, async (kv) => {
      const batch = new KvBatch();
      batch.put(kv.database("meta"), "counters", saved);
      await kv.apply(batch.bytes());
    });
    await migrateManifest(dir, additive);
    assertEquals(entries(dir, "sizes"), FILES + 1);
  }));
