/**
 * What of a depot another daemon may read: whole files, dirty or evicted, and nothing else.
 *
 * @module
 */

import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { PeerDepot } from "../../src/cluster/peer_depot.ts";
import { StorageError, type StorageErrorKind } from "../../src/storage/backend.ts";
import { Engine } from "../cache/engine.ts";
import { textPath } from "../storage/contents.ts";

function depotOf(engine: Engine): PeerDepot {
  return new PeerDepot({
    files: engine.files,
    manifest: engine.manifest,
    bring: (path) => engine.restorer.fetch(path),
    backends: [engine.primary],
  });
}

async function read(depot: PeerDepot, path: DepotPath): Promise<string> {
  const object = await depot.open(path);
  try {
    return new TextDecoder().decode(await object.read(0, object.info.size));
  } finally {
    object.close();
  }
}

async function fails(kind: StorageErrorKind, call: () => Promise<unknown>): Promise<void> {
  const error = await assertRejects(call, StorageError);
  assertEquals(error.kind, kind, error.message);
}

Deno.test("a dirty file is read as it is here; once stored, it has the storage's tag", async () => {
  await using engine = new Engine();
  const depot = depotOf(engine), path = textPath("a,v");
  engine.write(path, "one");
  assertEquals(await read(depot, path), "one");
  const dirty = await depot.head(path);
  assert(dirty.etag.startsWith("local-") && dirty.digest === null);
  engine.uploader.start();
  await engine.settled();
  const stored = engine.primary.objects.get(path)!.info;
  const { etag, digest, mtimeNs } = await depot.head(path);
  assertEquals([etag, digest, mtimeNs], [stored.etag, stored.digest, stored.mtimeNs]);
});

Deno.test("an evicted file is brought back to be read, and described without that", async () => {
  await using engine = new Engine();
  const depot = depotOf(engine), path = textPath("a,v");
  engine.write(path, "one");
  engine.uploader.start();
  await engine.settled();
  assertEquals(await engine.evictor.evictOnly([path]), [null]);
  assertEquals((await depot.head(path)).size, 3);
  assert(!engine.has(path));
  assertEquals(await read(depot, path), "one");
});

Deno.test("deleted, excluded and missing files and directories are absent", async () => {
  await using engine = new Engine();
  const depot = depotOf(engine);
  engine.write("dir/a,v", "one");
  engine.uploader.start();
  await engine.settled();
  Deno.removeSync(`${engine.dir}/dir/a,v`);
  engine.intake.gone(textPath("dir/a,v"), true);
  Deno.writeTextFileSync(`${engine.dir}/db.have`, "the server's own");
  Deno.symlinkSync("/etc/passwd", `${engine.dir}/link`);
  for (const name of ["dir/a,v", "none", "db.have", ".p4cache/fresh", "dir"]) {
    await fails("absent", () => depot.open(textPath(name)));
  }
  await fails("absent", () => depot.open(textPath("link")));
  for (const name of ["dir/a,v", "none", "db.have", "dir", "link"]) {
    await fails("absent", () => depot.head(textPath(name)));
  }
});

Deno.test("a file that is being written, or changes while it is read, is not given in part", async () => {
  await using engine = new Engine();
  const depot = depotOf(engine), path = textPath("a,v");
  engine.write(path, "one");
  {
    using _writer = Deno.openSync(`${engine.dir}/a,v`, { write: true });
    await fails("transient", () => depot.open(path));
  }
  const object = await depot.open(path);
  Deno.writeTextFileSync(`${engine.dir}/a,v`, "longer");
  await fails("corrupt", () => object.read(0, 3));
  object.close();
});

Deno.test("an error of the storage is one of ours, never absence", async () => {
  await using engine = new Engine();
  const depot = depotOf(engine);
  engine.primary.fault = () => {
    throw new StorageError("denied", "no");
  };
  await fails("transient", () => depot.open(textPath("a,v")));
  await fails("denied", () => depot.head(textPath("a,v")));
});

Deno.test("a listing has what is stored and what is not yet, in order, once", async () => {
  await using engine = new Engine();
  const depot = depotOf(engine);
  for (const name of ["b/1", "b/3", "c"]) engine.write(name, "x");
  engine.uploader.start();
  await engine.settled();
  await engine.uploader.stop(0);
  for (const name of ["a", "b/2", "b/3"]) engine.write(name, "y");
  Deno.removeSync(`${engine.dir}/c`);
  engine.intake.gone(textPath("c"), true);
  const list = async (prefix: string, after = "") => {
    const paths: string[] = [];
    for await (const { path } of depot.list(prefix, after)) paths.push(path);
    return paths;
  };
  assertEquals(await list(""), ["a", "b/1", "b/2", "b/3"]);
  assertEquals(await list("b/", "b/1"), ["b/2", "b/3"]);
});
