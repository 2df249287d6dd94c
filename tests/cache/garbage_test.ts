/** When the objects of deleted files are removed, and when never. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { Engine, type EngineOptions, SETTLE_SECONDS } from "./engine.ts";

const REMOVE: EngineOptions = { deletePolicy: "tombstone", deleteGraceSeconds: 100 };

/** An engine in which "a" was uploaded and then deleted by p4d. */
async function withDeleted(options: EngineOptions = REMOVE): Promise<Engine> {
  const engine = new Engine(options);
  engine.write("a", "first");
  engine.uploader.start();
  await engine.settled();
  remove(engine, "a");
  return engine;
}

function remove(engine: Engine, name: string): void {
  Deno.removeSync(`${engine.dir}/${name}`);
  engine.intake.gone(name as DepotPath);
}

/** Runs `hostile` in the middle of the first removal. */
function duringRemoval(engine: Engine, after: boolean, hostile: () => void | Promise<void>): void {
  let done = false;
  engine.primary.fault = async (operation, _path, afterEffect) => {
    if (done || operation !== "delete" || afterEffect !== after) return;
    done = true;
    await hostile();
  };
}

const due = async (engine: Engine) =>
  (await Array.fromAsync(engine.garbage.due())).map(({ path }) => path as string);

Deno.test("a deleted file's object is removed after the grace, not before", async () => {
  await using engine = await withDeleted();
  assertEquals(await due(engine), []);
  assertEquals((await engine.garbage.collect()).removed, 0);
  assertEquals(engine.stored("a"), "first");
  engine.laterSeconds = 101;
  assertEquals(await due(engine), ["a"]);
  assertEquals(await engine.garbage.collect(), { removed: 1, waiting: 0, failed: 0 });
  assertEquals(engine.stored("a"), null);
  assertEquals(await due(engine), []);
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});

Deno.test("under the policy 'keep' nothing is ever due", async () => {
  await using engine = await withDeleted({ deletePolicy: "keep" });
  engine.laterSeconds = 1_000_000;
  assertEquals(await due(engine), []);
  assertEquals((await engine.garbage.collect()).removed, 0);
  assertEquals(engine.stored("a"), "first");
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});

Deno.test("eviction leaves no tombstone: an evicted file's object is never due", async () => {
  await using engine = new Engine(REMOVE);
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  assert(!engine.has("a"));
  engine.laterSeconds = 1_000_000;
  assertEquals(await due(engine), []);
});

Deno.test("the secondary is never touched, and its copy does not bring a deleted file back", async () => {
  await using engine = await withDeleted({ ...REMOVE, withSecondary: true });
  engine.secondary.objects.set("a", engine.primary.objects.get("a")!);
  engine.laterSeconds = 101;
  assertEquals((await engine.garbage.collect()).removed, 1);
  assertEquals(engine.secondary.calls, []);
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});

Deno.test("P1: a file written again before the removal keeps its object", async () => {
  await using engine = await withDeleted();
  engine.laterSeconds = 101;
  engine.write("a", "second");
  await engine.settled();
  assertEquals((await engine.garbage.collect()).removed, 0);
  assertEquals(engine.stored("a"), "second");
});

Deno.test("P1: a file written again whose event is still on its way keeps its object", async () => {
  await using engine = await withDeleted();
  engine.laterSeconds = 101;
  Deno.writeTextFileSync(`${engine.dir}/a`, "second");
  assertEquals(await engine.garbage.collect(), { removed: 0, waiting: 1, failed: 0 });
  assert(engine.manifest.isTombstoned("a"), "renames that come before the event need it");
  engine.intake.changed("a" as DepotPath, 6);
  await engine.settled();
  assertEquals(engine.stored("a"), "second");
});

Deno.test("P1: a file written during the removal is uploaded after it", async () => {
  await using engine = await withDeleted();
  engine.laterSeconds = 101;
  duringRemoval(engine, false, async () => {
    engine.write("a", "second");
    // Time for an upload that does not wait.
    await new Promise((resolve) => setTimeout(resolve, 100));
    assertEquals(engine.primary.calls.filter((call) => call.operation === "put").length, 1);
  });
  await engine.garbage.collect();
  await engine.settled();
  assertEquals(engine.stored("a"), "second");
  assert(!engine.manifest.isTombstoned("a"));
});

Deno.test("P1: a removal that takes effect after it was given up loses nothing", async () => {
  await using engine = await withDeleted();
  engine.laterSeconds = 101;
  engine.primary.fault = (operation) => {
    if (operation === "delete") throw new StorageError("transient", "timed out");
  };
  assertEquals(await engine.garbage.collect(), { removed: 0, waiting: 0, failed: 1 });
  engine.write("a", "second");
  await engine.settled();
  engine.primary.objects.delete("a"); // the removal, late
  await engine.evictor.makeRoom(100);
  assertEquals(engine.read("a"), "second");
  engine.laterSeconds += SETTLE_SECONDS;
  await engine.unsettled.settleDue();
  await engine.settled();
  assertEquals(engine.stored("a"), "second");
  await engine.unsettled.settleDue();
  await engine.evictor.makeRoom(100);
  assert(!engine.has("a"));
  assertEquals((await engine.restorer.fetch("a")).kind, "ok");
});

Deno.test("an object whose upload is in flight, or may still arrive, is removed later", async () => {
  await using engine = new Engine({ ...REMOVE, deleteGraceSeconds: 0 });
  let waited = -1;
  engine.primary.fault = async (operation, _path, afterEffect) => {
    if (operation !== "put") return;
    if (!afterEffect) {
      remove(engine, "a");
      waited = (await engine.garbage.collect()).waiting;
      return;
    }
    throw new StorageError("transient", "the answer was lost");
  };
  engine.write("a", "first");
  engine.uploader.start();
  while (waited < 0 || engine.uploader.uploading > 0) await new Promise((r) => setTimeout(r, 5));
  assertEquals(waited, 1);
  assertEquals(await engine.garbage.collect(), { removed: 0, waiting: 1, failed: 0 });
  engine.laterSeconds = SETTLE_SECONDS;
  await engine.unsettled.settleDue();
  assertEquals(await engine.garbage.collect(), { removed: 1, waiting: 0, failed: 0 });
  assertEquals(engine.stored("a"), null);
});

Deno.test("a removal cut short before it was recorded is made again", async () => {
  await using engine = await withDeleted();
  engine.laterSeconds = 101;
  engine.primary.objects.delete("a"); // as a daemon that died then left it
  assertEquals((await engine.garbage.collect()).removed, 1);
  assertEquals(await due(engine), []);
});

Deno.test("an evicted file that p4d removes is deleted, also while it is being restored", async () => {
  await using engine = new Engine(REMOVE);
  for (const name of ["a", "b"]) engine.write(name, "content");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  engine.intake.removed("a" as DepotPath);
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
  engine.primary.fault = (operation) => {
    if (operation === "getRange") engine.intake.removed("b" as DepotPath);
  };
  assertEquals(await engine.restorer.fetch("b"), { kind: "notFound" });
  assert(!engine.has("b"));
});

Deno.test("a file asked for in the moment of its delete does not come back", async () => {
  await using engine = new Engine();
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  Deno.removeSync(`${engine.dir}/a`);
  engine.upToDate = () => {
    engine.intake.gone("a" as DepotPath); // the event was on its way
    return Promise.resolve();
  };
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
  assert(!engine.has("a"));
});
