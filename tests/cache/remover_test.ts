/**
 * Deletes and listings of files that are in the storage only.
 *
 * @module
 */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { listDirectory } from "../../src/cache/directory_listing.ts";
import { Remover } from "../../src/cache/remover.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { Engine } from "./engine.ts";

function removerOf(engine: Engine, readOnly = false): Remover {
  const { primary, secondary } = engine;
  return new Remover({
    ...engine,
    backends: [primary, secondary],
    isExcluded: (path) => path === "excluded",
    readOnly,
  });
}

/** Writes files and waits until they are stored, then takes them off the disk as an eviction does. */
async function evicted(engine: Engine, ...names: string[]): Promise<void> {
  for (const name of names) engine.write(name, `content of ${name}`);
  engine.uploader.start();
  await engine.settled();
  for (const name of names) {
    Deno.removeSync(`${engine.dir}/${name}`);
    engine.manifest.set(name as DepotPath, null);
  }
}

Deno.test("an evicted file that is deleted stays deleted, and its object is kept", async () => {
  await using engine = new Engine();
  await evicted(engine, "a");
  const remover = removerOf(engine);
  assertEquals(await remover.unlink("a"), { kind: "deleted" });
  assertEquals(engine.manifest.pending, 0); // durable before the answer
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
  assertEquals(await remover.unlink("a"), { kind: "notFound" });
  assertEquals(engine.stored("a"), "content of a");
  engine.write("a", "anew");
  await engine.settled();
  assertEquals(engine.stored("a"), "anew");
});

Deno.test("P1: whose directory was renamed unseen, the file is not deleted by its old name", async () => {
  await using engine = new Engine();
  Deno.mkdirSync(`${engine.dir}/d`);
  await evicted(engine, "d/a");
  await engine.identities.compare();
  await engine.identities.learned();
  Deno.renameSync(`${engine.dir}/d`, `${engine.dir}/e`);
  engine.uploader.hold(engine.identities.compare());
  assertEquals(await removerOf(engine).unlink("d/a"), { kind: "notFound" });
  assertEquals((await engine.restorer.fetch("e/a")).kind, "ok");
});

Deno.test("what is on the disk is the client's to delete, what is nowhere was not deleted", async () => {
  await using engine = new Engine();
  const remover = removerOf(engine);
  engine.write("a", "here");
  assertEquals(await remover.unlink("a"), { kind: "local" });
  assertEquals(await remover.unlink("none"), { kind: "notFound" });
  assertEquals(await remover.unlink("excluded"), { kind: "notFound" });
  assertEquals((await remover.unlink("../a")).kind, "error");
  assertEquals((await remover.unlink(".p4cache/manifest/data.mdb")).kind, "error");
  assertEquals(engine.read("a"), "here");
});

Deno.test("P3: a delete is refused while a backend cannot say whether the file is there", async () => {
  await using engine = new Engine();
  engine.primary.fault = () => {
    throw new StorageError("transient", "it is down");
  };
  const answer = await removerOf(engine).unlink("a");
  assertEquals(answer, { kind: "error", why: "it is down" });
  assertEquals(engine.manifest.isTombstoned("a"), false);
});

Deno.test("a replica deletes nothing", async () => {
  await using engine = new Engine();
  await evicted(engine, "a");
  const answer = await removerOf(engine, true).unlink("a");
  assertEquals(answer.kind === "error" && answer.why.startsWith("read-only"), true);
  assertEquals((await engine.restorer.fetch("a")).kind, "ok");
});

Deno.test("P1: a restore that began before the delete does not bring the file back", async () => {
  await using engine = new Engine();
  await evicted(engine, "a");
  const fetching = Promise.withResolvers<void>(), go = Promise.withResolvers<void>();
  engine.primary.fault = async (operation) => {
    if (operation !== "getRange") return;
    fetching.resolve();
    await go.promise;
  };
  const heads = Promise.withResolvers<void>();
  const remover = removerOf(engine);
  // The restore begins while the delete asks the backend.
  const { head } = engine.primary;
  engine.primary.head = async (path, signal) => {
    const info = await head.call(engine.primary, path, signal);
    void engine.restorer.fetch("a");
    await fetching.promise;
    heads.resolve();
    return info;
  };
  const unlinking = remover.unlink("a");
  await heads.promise;
  assertEquals(engine.manifest.isTombstoned("a"), false);
  go.resolve();
  // It waited for the restore: the file is there, and is the client's to unlink.
  assertEquals(await unlinking, { kind: "local" });
  assertEquals(engine.read("a"), "content of a");
});

async function listed(engine: Engine, dir: string): Promise<string[]> {
  const { primary, secondary } = engine;
  const parts = {
    ...engine,
    backends: [primary, secondary],
    isExcluded: (path: string) => path === "d/excluded",
  };
  const names: string[] = [];
  for await (const { name, isDirectory } of listDirectory(parts, dir)) {
    names.push(name + (isDirectory ? "/" : ""));
  }
  return names;
}

Deno.test("a directory is listed from the storage, each subdirectory once", async () => {
  await using engine = new Engine();
  for (const dir of ["d/sub/deep", "d/gone"]) {
    Deno.mkdirSync(`${engine.dir}/${dir}`, { recursive: true });
  }
  const names = [
    "d/a",
    "d/excluded",
    "d/sub/1",
    "d/sub/2",
    "d/sub/deep/3",
    "d/sub/\xff\xff",
    "d/z",
  ];
  await evicted(engine, ...names.filter((name) => !name.includes("\xff")), "d/gone/x", "e");
  const { objects } = engine.primary;
  objects.set("d/sub/\xff\xff", objects.get("d/a")!);
  await removerOf(engine).unlink("d/gone/x");
  Deno.removeSync(`${engine.dir}/d`, { recursive: true });
  engine.primary.calls.length = 0;

  assertEquals(await listed(engine, "d"), ["a", "sub/", "sub/", "z"]);
  assertEquals(await listed(engine, ""), ["d/", "e"]);
  assertEquals(await listed(engine, "d/a"), []);
  assertEquals(await listed(engine, "../d"), []);
  // What was listed can be entered.
  assertEquals(Deno.statSync(`${engine.dir}/d/sub`).isDirectory, true);
  assertEquals([...Deno.readDirSync(`${engine.dir}/d`)].length, 1);
});

Deno.test("a listing asks once for each subdirectory, however much is below", async () => {
  await using engine = new Engine();
  await evicted(engine, "a");
  const object = engine.primary.objects.get("a")!;
  for (const dir of ["x", "y", "z"]) {
    for (let i = 0; i < 500; i++) engine.primary.objects.set(`${dir}/${i}/file`, object);
  }
  engine.primary.calls.length = 0;
  assertEquals(await listed(engine, ""), ["a", "x/", "y/", "z/"]);
  assertEquals(engine.primary.calls.length, 4);
});

Deno.test("P3: a listing that a backend breaks off fails", async () => {
  await using engine = new Engine();
  await evicted(engine, "a");
  engine.primary.fault = () => {
    throw new StorageError("transient", "it is down");
  };
  await assertRejects(() => listed(engine, ""), StorageError, "it is down");
});
