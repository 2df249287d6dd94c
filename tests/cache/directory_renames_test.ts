/** P1, P3: renamed directories whose files are partly evicted; one subject, however long. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { Remover } from "../../src/cache/remover.ts";
import { emptyTrash, putBackMoved } from "../../src/cache/trash.ts";
import { getLog } from "../../src/observe/logging.ts";
import { StorageError } from "../../src/storage/backend.ts";
import type { Engine } from "./engine.ts";
import { carriedOut, fetch, move, removeWithCold, tellMoved, withFiles } from "./renaming.ts";

/** What an object is that somebody else put in place of ours. */
const OTHER = { size: 7, etag: "x", mtimeNs: null, mode: null, digest: "sha256:00" };

const puts = (engine: Engine) =>
  engine.primary.calls.filter(({ operation }) => operation === "put").map(({ path }) => path);

Deno.test("after mv a b, files on disk and evicted ones are readable as b, and none is sent again", async () => {
  await using engine = await withFiles({
    "a/warm": "warm",
    "a/cold": "cold",
    "a/d/warm": "deep",
    "a/d/cold": "deep cold",
  });
  await move(engine, "a", "b");
  await carriedOut(engine);
  assertEquals(puts(engine), []);
  for (const [name, content] of [["warm", "warm"], ["d/warm", "deep"]] as const) {
    assertEquals(engine.stored(`b/${name}`), content);
    assertEquals(engine.read(`b/${name}`), content);
  }
  assertEquals(await fetch(engine, "b/cold"), "cold");
  assertEquals(await fetch(engine, "b/d/cold"), "deep cold");
  for (const name of ["warm", "cold", "d/warm", "d/cold"]) {
    assertEquals(await fetch(engine, `a/${name}`), "notFound");
  }
});

Deno.test("an evicted file is readable under its new name before its directory is carried out", async () => {
  await using engine = await withFiles({ "a/cold": "cold", "a/cold2": "cold2", "a/w": "w" });
  engine.primary.fault = (operation) => {
    if (operation === "list") throw new StorageError("transient", "not yet");
  };
  await move(engine, "a", "b");
  assertEquals(await fetch(engine, "b/cold"), "cold");
  assertEquals(await fetch(engine, "a/cold"), "notFound");
  assertEquals(await fetch(engine, "a/cold2"), "notFound");
  assertEquals(await fetch(engine, "b/none"), "notFound");
  assertEquals(engine.renames.pending, 1);
});

Deno.test("P1: a new file under the old name does not replace the only copy of the evicted one", async () => {
  await using engine = await withFiles({ "a/cold": "old", "a/w": "w" });
  let held = true;
  engine.primary.fault = (operation) => {
    if (operation === "list" && held) throw new StorageError("transient", "not yet");
  };
  await move(engine, "a", "b");
  engine.write("a/cold", "new");
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(engine.stored("a/cold"), "old");
  held = false;
  assertEquals(await fetch(engine, "b/cold"), "old");
  await engine.renames.stop();
});

Deno.test("P1: after the rename was carried out the new file under the old name is uploaded", async () => {
  await using engine = await withFiles({ "a/cold": "old", "a/w": "w" });
  await move(engine, "a", "b");
  engine.write("a/cold", "new");
  await carriedOut(engine);
  assertEquals(engine.stored("a/cold"), "new");
  assertEquals(await fetch(engine, "b/cold"), "old");
  assertEquals(await fetch(engine, "a/cold"), "new");
});

for (const what of ["removal", "put"] as const) {
  Deno.test(`P1: a ${what} that has begun at the new path does not come over the copy`, async () => {
    const options = { deletePolicy: "tombstone", deleteGraceSeconds: 100 } as const;
    await using engine = await withFiles({ "a/cold": "of a", "b/cold": "of b" }, options);
    const begun = Promise.withResolvers<void>(), goesOn = Promise.withResolvers<void>();
    const operation = what === "removal" ? "delete" : "put";
    engine.primary.fault = async (each, path, afterEffect) => {
      if (each !== operation || path !== "b/cold" || afterEffect) return;
      begun.resolve();
      await goesOn.promise;
    };
    if (what === "put") {
      engine.write("b/cold", "another");
      await begun.promise;
    }
    await removeWithCold(engine, "b");
    engine.laterSeconds = 101;
    const collected = engine.garbage.collect();
    if (what === "removal") await begun.promise;
    await move(engine, "a", "b");
    const asked = fetch(engine, "b/cold");
    await new Promise((resolve) => setTimeout(resolve, 100));
    const meanwhile = engine.stored("b/cold");
    goesOn.resolve();
    assertEquals([await asked, meanwhile], ["of a", "of b"]);
    await collected;
    await carriedOut(engine);
    assertEquals(engine.stored("b/cold"), "of a");
  });
}

Deno.test("directories that change places keep their evicted files", async () => {
  await using engine = await withFiles({
    "live/cold": "live",
    "live/w": "w",
    "next/cold": "next",
    "next/w": "v",
    "next/cold2": "only next",
  });
  await move(engine, "live", "old");
  await move(engine, "next", "live");
  await carriedOut(engine);
  assertEquals(await fetch(engine, "old/cold"), "live");
  assertEquals(await fetch(engine, "live/cold"), "next");
  assertEquals(await fetch(engine, "live/cold2"), "only next");
  assertEquals(await fetch(engine, "next/cold"), "notFound");
  assertEquals([engine.stored("old/w"), engine.stored("live/w")], ["w", "v"]);
});

Deno.test("the same through renames that are not carried out yet, to and fro", async () => {
  await using engine = await withFiles({
    "live/cold": "live",
    "live/w": "w",
    "next/cold": "next",
    "next/w": "v",
    "x/cold": "x",
    "x/w": "x",
  });
  engine.primary.fault = (operation) => {
    if (operation === "list") throw new StorageError("transient", "not yet");
  };
  await move(engine, "live", "old");
  await move(engine, "next", "live");
  await move(engine, "x", "y");
  await move(engine, "y", "x");
  assertEquals(engine.renames.pending, 4);
  assertEquals(await fetch(engine, "live/cold"), "next");
  assertEquals(await fetch(engine, "old/cold"), "live");
  assertEquals(await fetch(engine, "x/cold"), "x");
  assertEquals(await fetch(engine, "y/cold"), "notFound");
});

Deno.test("a file deleted before the rename stays deleted, one deleted after it too", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/cold2": "2", "a/w": "w", "a/v": "v" });
  engine.intake.removed("a/cold" as DepotPath);
  Deno.removeSync(`${engine.dir}/a/v`);
  engine.intake.gone("a/v" as DepotPath);
  let held = true;
  engine.primary.fault = async (operation) => {
    while (operation === "list" && held) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await move(engine, "a", "b");
  engine.intake.removed("b/cold2" as DepotPath);
  held = false;
  await carriedOut(engine);
  for (const name of ["b/cold", "b/cold2", "b/v", "a/cold", "a/v"]) {
    assertEquals(await fetch(engine, name), "notFound", name);
  }
});

Deno.test("an evicted file is deleted by its new name before its directory is carried out", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/w": "w", "b/cold": "deleted before" });
  await removeWithCold(engine, "b");
  let held = true;
  engine.primary.fault = (operation) => {
    if (operation === "list" && held) throw new StorageError("transient", "not yet");
  };
  await move(engine, "a", "b");
  const backends = [engine.primary];
  const remover = new Remover({ ...engine, backends, isExcluded: () => false, readOnly: false });
  assertEquals(await remover.unlink("a/cold"), { kind: "notFound" });
  assertEquals(await remover.unlink("b/cold"), { kind: "deleted" });
  assertEquals(await fetch(engine, "b/cold"), "notFound");
  held = false;
});

Deno.test("a newer file under the new name stays, also when it is evicted meanwhile", async () => {
  await using engine = await withFiles({ "a/cold": "old", "a/w": "w" });
  let held = true;
  engine.primary.fault = async (operation) => {
    while (operation === "list" && held) await new Promise((resolve) => setTimeout(resolve, 5));
  };
  await move(engine, "a", "b");
  engine.write("b/cold", "newer");
  await engine.settled();
  await engine.evictor.makeRoom(1_000_000);
  assert(!engine.has("b/cold"));
  held = false;
  await carriedOut(engine);
  assertEquals(await fetch(engine, "b/cold"), "newer");
  assertEquals(engine.stored("a/cold"), "old");
});

Deno.test("a file changed after the rename is uploaded with its new content", async () => {
  await using engine = await withFiles({ "a/w": "old content" });
  let copied = false;
  engine.primary.fault = (operation, path) => {
    if (operation !== "copy" || copied) return;
    copied = true;
    engine.write(path, "new content"); // the same size
  };
  await move(engine, "a", "b");
  await carriedOut(engine);
  assertEquals(engine.stored("b/w"), "new content");
});

Deno.test("a source object that changed is noticed: the file is uploaded instead", async () => {
  await using engine = await withFiles({ "a/w": "content" });
  engine.primary.fault = (operation) => {
    if (operation === "copy") engine.primary.objects.get("a/w")!.info = { ...OTHER };
  };
  await move(engine, "a", "b");
  await carriedOut(engine);
  assertEquals(puts(engine), ["b/w"]);
  assertEquals(engine.stored("b/w"), "content");
});

Deno.test("a rename that a crash interrupted is carried out by the next daemon", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/cold2": "2", "a/w": "w" });
  let copies = 0;
  engine.primary.fault = (operation, _path, afterEffect) => {
    if (operation === "copy" && afterEffect && ++copies > 0) {
      throw new StorageError("transient", "the daemon died before it knew");
    }
  };
  await move(engine, "a", "b");
  while (copies === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  await engine.renames.stop();
  await engine.manifest.commit();
  engine.primary.fault = () => {};
  const again = engine.newRenames();
  await again.load();
  assertEquals(again.pending, 1);
  assert(again.isHeld("a/cold"));
  again.start();
  while (again.pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals([engine.stored("b/cold"), engine.stored("b/cold2")], ["1", "2"]);
  await again.stop();
  const none = engine.newRenames();
  await engine.manifest.commit();
  await none.load();
  assertEquals(none.pending, 0);
});

Deno.test("objects that only the secondary has come along", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/w": "w" }, { withSecondary: true });
  engine.secondary.objects.set("a/cold", engine.primary.objects.get("a/cold")!);
  engine.primary.objects.delete("a/cold");
  await move(engine, "a", "b");
  await carriedOut(engine);
  assertEquals(engine.stored("b/cold"), "1");
  assertEquals(await fetch(engine, "b/cold"), "1");
  assertEquals(await fetch(engine, "a/cold"), "notFound");
});

Deno.test("objects that are still to be copied are not removed as garbage", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/w": "w" }, {
    deletePolicy: "tombstone",
    deleteGraceSeconds: 0,
  });
  let held = true;
  engine.primary.fault = (operation) => {
    if (operation === "list" && held) throw new StorageError("transient", "not yet");
  };
  await move(engine, "a", "b");
  assertEquals((await engine.garbage.collect()).removed, 0);
  assertEquals(engine.stored("a/w"), "w");
  held = false;
  await engine.renames.stop();
});

Deno.test("a file asked for in the moment of its directory's rename is found", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/w": "w" });
  Deno.renameSync(`${engine.dir}/a`, `${engine.dir}/b`);
  let told = false;
  engine.upToDate = async () => {
    if (told) return;
    told = true;
    await tellMoved(engine, "a", "b");
  };
  assertEquals(await fetch(engine, "b/cold"), "1");
  assertEquals(await fetch(engine, "a/cold"), "notFound");
});

Deno.test("P1: a restore in flight places its file where its directory is by then", async () => {
  await using engine = await withFiles({ "a/cold": "content" });
  engine.upToDate = () => {
    engine.upToDate = () => Promise.resolve();
    Deno.renameSync(`${engine.dir}/a`, `${engine.dir}/b`);
    Deno.mkdirSync(`${engine.dir}/a`);
    return Promise.resolve();
  };
  assertEquals((await engine.restorer.fetch("a/cold")).kind, "ok");
  await tellMoved(engine, "a", "b");
  await carriedOut(engine);
  assert(!engine.has("a/cold"));
  assertEquals(await fetch(engine, "b/cold"), "content");
});

Deno.test("P1: a file that came to the old name before the rename was known stays one of that name", async () => {
  await using engine = await withFiles({ "a/cold": "evicted" });
  Deno.renameSync(`${engine.dir}/a`, `${engine.dir}/b`);
  // Nobody told of the rename: this one is the evicted file, under its old name.
  assertEquals(await fetch(engine, "a/cold"), "evicted");
  engine.write("a/cold", "newer");
  const told = tellMoved(engine, "a", "b");
  engine.uploader.hold(told);
  await told;
  await carriedOut(engine);
  assertEquals(await fetch(engine, "b/cold"), "evicted");
  assertEquals(await fetch(engine, "a/cold"), "newer");
});

Deno.test("a new directory under the old name is not taken for the renamed one", async () => {
  await using engine = await withFiles({ "a/cold": "content" });
  await engine.identities.compare();
  await engine.identities.learned();
  Deno.renameSync(`${engine.dir}/a`, `${engine.dir}/b`);
  Deno.mkdirSync(`${engine.dir}/a`);
  await tellMoved(engine, "a", "b");
  await engine.identities.compare();
  await engine.identities.learned();
  await carriedOut(engine);
  assertEquals(await fetch(engine, "b/cold"), "content");
  assertEquals(await fetch(engine, "a/cold"), "notFound");
});

Deno.test("directories renamed while nobody watched are known again, with their evicted files", async () => {
  await using engine = await withFiles({
    "a/cold": "a",
    "a/w": "w",
    "a/sub/cold": "sub",
    "x/cold": "x",
    "y/cold": "y",
  });
  await engine.identities.compare();
  await engine.identities.learned(); // as every start does
  await engine.manifest.commit();
  const at = (name: string) => `${engine.dir}/${name}`;
  Deno.renameSync(at("a"), at("b"));
  Deno.mkdirSync(at("a"));
  Deno.writeTextFileSync(at("a/cold"), "new");
  // Two that change places.
  Deno.renameSync(at("x"), at("z"));
  Deno.renameSync(at("y"), at("x"));
  Deno.renameSync(at("z"), at("y"));
  engine.uploader.hold(engine.identities.compare());
  await engine.identities.settled();
  await engine.identities.learned();
  await engine.scanner.scanAll();
  await carriedOut(engine);
  assertEquals(await fetch(engine, "b/cold"), "a");
  assertEquals(await fetch(engine, "b/sub/cold"), "sub");
  assertEquals(await fetch(engine, "a/cold"), "new");
  assertEquals(await fetch(engine, "a/sub/cold"), "notFound");
  assertEquals([engine.stored("b/w"), engine.stored("a/cold")], ["w", "new"]);
  assertEquals([await fetch(engine, "x/cold"), await fetch(engine, "y/cold")], ["y", "x"]);
  // Nothing is found again at the next start.
  await engine.identities.compare();
  await engine.identities.learned();
  assertEquals(engine.renames.pending, 0);
});

Deno.test("a directory that was removed, or made anew, is not taken for a renamed one", async () => {
  await using engine = await withFiles({ "a/cold": "a", "a/d/cold": "d" });
  await engine.identities.compare();
  await engine.identities.learned();
  Deno.removeSync(`${engine.dir}/a/d`);
  await engine.intake.treeGone("a/d" as DepotPath);
  Deno.mkdirSync(`${engine.dir}/e`); // may get the inode that is free now
  await engine.identities.compare();
  await engine.identities.learned();
  assertEquals(engine.renames.pending, 0);
  assertEquals(await fetch(engine, "e/cold"), "notFound");
  assertEquals(await fetch(engine, "a/cold"), "a");
});

Deno.test("a file that a crash left in the trash goes back to where its directory is now", async () => {
  await using engine = await withFiles({ "a/w": "w", "a/v": "v" });
  await engine.identities.compare();
  await engine.identities.learned();
  const { identity } = engine.identities.find("a" as DepotPath);
  const id = engine.manifest.trash.add("a/w" as DepotPath, identity);
  await engine.manifest.commit();
  Deno.renameSync(`${engine.dir}/a/w`, `${engine.dir}/.p4cache/trash/${id}`);
  Deno.renameSync(`${engine.dir}/a`, `${engine.dir}/b`);
  const log = getLog("daemon");
  const { files, manifest, identities, intake } = engine;
  const left = await emptyTrash(files, manifest, [String(id)], log, true);
  assertEquals([...left.values()], [{ path: "a/w" as DepotPath, directory: identity }]);
  const onBack = (path: DepotPath, size: number) => intake.changed(path, size);
  await identities.compare(() => putBackMoved(files, manifest, identities, left, log, onBack));
  await carriedOut(engine);
  assertEquals([engine.read("b/w"), engine.read("b/v")], ["w", "v"]);
  assertEquals([engine.stored("b/w"), engine.stored("b/v")], ["w", "v"]);
  assertEquals(engine.has("a"), false);
  assertEquals((await manifest.trash.all()).size, 0);
});

Deno.test("directories that change places within one second keep the files that are only stored", async () => {
  await using engine = await withFiles({ "a/cold": "old" });
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  engine.primary.fault = (operation) => operation === "put" ? undefined : held;
  await move(engine, "a", "b");
  engine.write("a/cold", "new");
  await move(engine, "a", "c");
  await move(engine, "b", "a");
  release();
  await carriedOut(engine);
  assertEquals([await fetch(engine, "a/cold"), await fetch(engine, "c/cold")], ["old", "new"]);
});
