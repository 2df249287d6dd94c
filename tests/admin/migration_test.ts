/**
 * A migration never replaces a newer object, brings no deleted file back, and is gone on with.
 *
 * @module
 */

import { assertEquals, assertMatch, assertRejects } from "deno-std/assert/mod.js";
import {
  migrate,
  type MigrationOptions,
  type MigrationParts,
  type MigrationState,
} from "../../src/admin/migration.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { type Backend, SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { bytesContent } from "../../src/storage/bytes_content.ts";
import { Engine } from "../cache/engine.ts";

const never = new AbortController().signal;
const OPTIONS: MigrationOptions = {
  dryRun: false,
  atOnce: 1,
  readBack: false,
  pace: () => Promise.resolve(),
};

/** An engine whose secondary has objects of these names, each with its name as content. */
async function withOld(...names: readonly string[]): Promise<Engine> {
  const engine = new Engine({ withSecondary: true });
  for (const name of names) await old(engine, name, `old ${name}`);
  return engine;
}

async function old(engine: Engine, name: string, text: string): Promise<void> {
  const bytes = new Uint8Array(new TextEncoder().encode(text));
  await engine.secondary.put(name as DepotPath, bytesContent(bytes, 1000), never);
}

async function run(
  engine: Engine,
  options: Partial<MigrationOptions> = {},
  signal: AbortSignal = never,
  source: MigrationParts["source"] = null,
): Promise<MigrationState> {
  const { manifest, activity, primary, secondary, renames, uploader } = engine;
  const parts = {
    manifest,
    activity,
    primary,
    secondary,
    unsettled: engine.unsettled,
    source,
    isCopying: () => renames.pending > 0,
    onFreed: (path: DepotPath) => uploader.notice(path),
  };
  const work = migrate(parts, { ...OPTIONS, ...options }, signal);
  for (;;) {
    const next = await work.next();
    if (next.done) return next.value;
  }
}

const puts = (engine: Engine) =>
  engine.primary.calls.filter(({ operation }) => operation === "put").map(({ path }) => path);

Deno.test("what only the secondary has is copied with its metadata, and nothing else", async () => {
  await using engine = await withOld("a", "b", "c/d");
  await engine.primary.put("b" as DepotPath, bytesContent(new Uint8Array(3), 0), never);
  const dry = await run(engine, { dryRun: true });
  assertEquals([dry.objects, dry.missing, dry.copied, puts(engine)], [3, 2, 0, ["b"]]);
  const state = await run(engine, { readBack: true });
  assertEquals([state.copied, state.left, state.failed, state.phase], [2, 0, 0, "done"]);
  assertEquals(engine.stored("b"), "\0\0\0");
  assertEquals(engine.stored("c/d"), "old c/d");
  const { etag: _, ...copy } = engine.primary.objects.get("a")!.info;
  const { etag: __, ...source } = engine.secondary.objects.get("a")!.info;
  assertEquals(copy, source);
  assertEquals((await run(engine)).missing, 0);
  assertEquals(puts(engine), ["b", "a", "c/d"], "nothing is copied twice");
});

Deno.test("a large object passes through in slices", async () => {
  await using engine = await withOld();
  const bytes = new Uint8Array(2 * SLICE_BYTES + 5).fill(7);
  await engine.secondary.put("large" as DepotPath, bytesContent(bytes, 1000), never);
  const asked: number[] = [];
  const state = await run(engine, { pace: (n) => Promise.resolve(void asked.push(n)) });
  assertEquals([state.copied, state.copiedBytes], [1, bytes.length]);
  assertEquals(Math.max(...asked), SLICE_BYTES, "the throttle sees every slice");
  assertEquals(engine.primary.objects.get("large")!.bytes, bytes);
});

Deno.test("1: a file that waits for its upload is not copied, and its run is not complete", async () => {
  await using engine = await withOld("file", "other");
  engine.write("file", "new");
  const state = await run(engine);
  assertEquals([state.copied, state.waiting, state.left], [1, 1, 1]);
  assertEquals(engine.stored("file"), null);
  engine.uploader.start();
  await engine.settled();
  assertEquals((await run(engine)).left, 0);
  assertEquals(engine.stored("file"), "new");
});

Deno.test("1: an object that came after the listing is not replaced", async () => {
  await using engine = await withOld("file");
  engine.secondary.fault = async (operation) => {
    if (operation !== "getRange") return;
    await engine.primary.put("file" as DepotPath, bytesContent(new Uint8Array(3), 0), never);
  };
  const state = await run(engine);
  assertEquals([state.copied, state.failed, state.left], [0, 0, 0]);
  assertEquals(engine.stored("file"), "\0\0\0");
});

Deno.test("2: a file that is written during its copy is uploaded after it", async () => {
  await using engine = await withOld("file");
  engine.uploader.start();
  engine.primary.fault = async (operation, path, after) => {
    if (operation !== "put" || path !== "file" || after || engine.has("file")) return;
    engine.write("file", "new");
    await engine.manifest.commit();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertEquals(engine.uploader.uploading, 0, "the upload waits");
  };
  assertEquals((await run(engine)).copied, 1);
  await engine.settled();
  assertEquals(engine.stored("file"), "new");
});

Deno.test("3: an upload that was given up and takes effect after the copy counts", async () => {
  await using engine = await withOld("file");
  engine.primary.fault = (operation, _path, after) => {
    if (operation !== "put" || !after) return;
    engine.primary.fault = () => {};
    return engine.primary.put("file" as DepotPath, bytesContent(new Uint8Array(3), 0), never)
      .then(() => {});
  };
  const state = await run(engine, { readBack: true });
  assertEquals([state.failed, state.left, engine.stored("file")], [0, 0, "\0\0\0"]);
});

Deno.test("4: a file that was deleted is not copied; deleted during the copy, its copy is garbage", async () => {
  const engine = new Engine({ withSecondary: true, deletePolicy: "tombstone" });
  await using _ = engine;
  for (const name of ["before", "during"]) await old(engine, name, name);
  engine.intake.gone("before" as DepotPath, true);
  engine.primary.fault = async (operation, path, after) => {
    if (operation !== "put" || path !== "during" || after) return;
    engine.intake.gone("during" as DepotPath, true);
    await engine.garbage.collect();
  };
  const state = await run(engine);
  assertEquals([state.deleted, state.copied, state.left], [1, 1, 0]);
  assertEquals([engine.stored("before"), engine.stored("during")], [null, "during"]);
  await engine.garbage.collect();
  assertEquals(engine.stored("during"), null);
  assertEquals((await run(engine)).left, 0, "what was removed is not copied again");
});

Deno.test("5: nothing is copied while a directory rename is carried out", async () => {
  await using engine = await withOld("from/file");
  await engine.renames.begin("from" as DepotPath, "to" as DepotPath);
  const state = await run(engine);
  assertEquals([state.copied, state.waiting], [0, 1]);
  engine.renames.start();
  while (engine.renames.pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const again = await run(engine);
  assertEquals([again.copied, again.deleted, again.left], [0, 1, 0]);
  assertEquals(engine.stored("to/file"), "old from/file");
});

Deno.test("6: a file that was restored from the secondary becomes the primary's version", async () => {
  await using engine = await withOld("file");
  assertEquals((await engine.restorer.fetch("file")).kind, "ok");
  assertEquals((await run(engine)).copied, 1);
  const { etag } = engine.primary.objects.get("file")!.info;
  assertEquals(engine.manifest.get("file")?.version?.etag, etag);
});

Deno.test("7: a run that was stopped is gone on with, and copies nothing twice", async () => {
  await using engine = await withOld("a", "b", "c", "d");
  const stop = new AbortController();
  engine.primary.fault = (operation, path, after) => {
    if (operation === "put" && path === "b" && after) stop.abort();
  };
  await assertRejects(() => run(engine, {}, stop.signal), StorageError, "stopped");
  engine.primary.fault = () => {};
  const second = await run(engine);
  assertEquals([second.copied, second.left], [2, 0]);
  assertEquals(puts(engine), ["a", "b", "c", "d"]);
});

Deno.test("what is damaged in the secondary is told, not copied", async () => {
  await using engine = await withOld("fine", "rotten");
  engine.secondary.objects.get("rotten")!.bytes[0]! ^= 1;
  const state = await run(engine);
  assertEquals([state.copied, state.failed, state.left], [1, 1, 1]);
  assertMatch(state.problems[0]!, /^rotten: .* holds other content than was uploaded/);
});

Deno.test("a copy that the primary does not hold as it was sent is removed", async () => {
  await using engine = await withOld("file");
  engine.primary.fault = (operation, path, after) => {
    if (operation === "put" && after) engine.primary.objects.get(path)!.bytes[0]! ^= 1;
  };
  const state = await run(engine, { readBack: true });
  assertEquals([state.copied, state.failed, state.left], [0, 1, 1]);
  assertEquals(engine.stored("file"), null);
});

Deno.test("a failure concerns its own object only", async () => {
  await using engine = await withOld("a", "b", "c");
  engine.primary.fault = (operation, path) => {
    if (operation === "put" && path === "b") throw new StorageError("denied", "not this one");
  };
  const state = await run(engine, { atOnce: 3 });
  assertEquals([state.copied, state.failed, state.left], [2, 1, 1]);
});

Deno.test("where the provider can, it copies by itself, but not past a request that was given up", async () => {
  await using engine = await withOld("a", "b", "c", "d");
  Object.assign(engine.secondary.objects.get("c")!.info, { digest: null });
  engine.unsettled.note("b");
  const place = { bucket: "old", prefix: "" };
  const asked: string[] = [];
  const copy: Backend["copy"] = (from, to, _signal, source) => {
    asked.push(from);
    assertEquals([source?.bucket, source?.prefix, from], ["old", "", to]);
    if (from === "d") {
      return Promise.reject(new StorageError("denied", "not with these credentials"));
    }
    const object = engine.secondary.objects.get(from)!;
    engine.primary.objects.set(to, { ...object, info: { ...object.info, etag: "copy" } });
    return Promise.resolve({ etag: "copy" });
  };
  Object.assign(engine.primary, { copy });
  const state = await run(engine, {}, never, place);
  assertEquals([state.copied, state.failed, state.left], [4, 0, 0]);
  assertEquals(asked, ["a", "d"], "b waits for its request, c has no digest to compare");
  assertEquals(puts(engine), ["b", "c", "d"]);
  for (const name of ["a", "b", "c", "d"]) assertEquals(engine.stored(name), `old ${name}`);
});
