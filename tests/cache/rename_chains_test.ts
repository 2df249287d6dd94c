/** Renames of a directory before the last one was carried out in storage. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { StorageError } from "../../src/storage/backend.ts";
import type { Engine } from "./engine.ts";
import { carriedOut, fetch, move, tellMoved, withFiles } from "./renaming.ts";

/** No rename is carried out until this is called; single objects are still copied when they are asked for. */
function hold(engine: Engine): () => void {
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  engine.primary.fault = (operation) => operation === "list" ? held : undefined;
  return release;
}

const ASKED = [
  { what: "asked for while they wait", isAsked: true },
  { what: "asked for when all is carried out", isAsked: false },
];
for (const { what, isAsked } of ASKED) {
  Deno.test(`P3: mv a b; mv b c keeps evicted files, with new ones at a and b: ${what}`, async () => {
    await using engine = await withFiles({
      "a/cold": "evicted",
      "a/sub/cold": "below",
      "a/w": "w",
    });
    const release = hold(engine);
    await move(engine, "a", "b");
    engine.write("a/cold", "new at a");
    await move(engine, "b", "c");
    engine.write("b/cold", "new at b");
    engine.write("b/sub/cold", "new below b");
    engine.write("a/sub/cold", "new below a");
    if (isAsked) assertEquals(await fetch(engine, "c/cold"), "evicted");
    release();
    await carriedOut(engine);
    const names = ["c/cold", "c/sub/cold", "b/cold", "b/sub/cold", "a/cold", "a/sub/cold", "c/w"];
    const contents = [
      "evicted",
      "below",
      "new at b",
      "new below b",
      "new at a",
      "new below a",
      "w",
    ];
    assertEquals(await Promise.all(names.map((name) => fetch(engine, name))), contents);
    await engine.settled();
    assertEquals(names.map((name) => engine.stored(name)), contents);
  });

  Deno.test(`P2, P3: what happened at b between the renames counts: ${what}`, async () => {
    await using engine = await withFiles({
      "a/cold1": "deleted between",
      "a/cold2": "replaced between",
      "a/cold3": "deleted later",
      "a/w": "w",
    });
    const release = hold(engine);
    await move(engine, "a", "b");
    engine.intake.removed("b/cold1" as DepotPath);
    engine.write("b/cold2", "newer");
    await engine.settled();
    await engine.evictor.makeRoom(1_000_000);
    assertEquals(engine.has("b/cold2"), false);
    await move(engine, "b", "c");
    for (const name of ["b/cold1", "b/cold2", "b/cold3"]) engine.write(name, "new");
    engine.intake.removed("c/cold3" as DepotPath);
    const expected = ["notFound", "newer", "notFound"];
    const ask = () => Promise.all([1, 2, 3].map((i) => fetch(engine, `c/cold${i}`)));
    if (isAsked) assertEquals(await ask(), expected);
    release();
    await carriedOut(engine);
    assertEquals(await ask(), expected);
    assertEquals(await fetch(engine, "b/cold3"), "new");
  });

  Deno.test(`directories change places, with files at each name since: ${what}`, async () => {
    await using engine = await withFiles({ "a/cold": "a", "b/cold": "b", "a/w": "w", "b/v": "v" });
    const release = hold(engine);
    await move(engine, "a", "x");
    await move(engine, "b", "a");
    await move(engine, "x", "b");
    engine.write("x/cold", "x");
    const ask = () => Promise.all(["a", "b", "x"].map((dir) => fetch(engine, `${dir}/cold`)));
    if (isAsked) assertEquals(await ask(), ["b", "a", "x"]);
    release();
    await carriedOut(engine);
    assertEquals(await ask(), ["b", "a", "x"]);
  });

  Deno.test(`a parent, a directory below, and back: ${what}`, async () => {
    await using engine = await withFiles({ "p/a/cold": "1", "p/cold": "2", "p/a/s/cold": "3" });
    const release = hold(engine);
    await move(engine, "p", "q");
    await move(engine, "q/a", "p");
    engine.write("q/a/cold", "new");
    await move(engine, "p/s", "s");
    await move(engine, "q", "r");
    await move(engine, "r", "q");
    const names = ["p/cold", "q/cold", "s/cold", "q/a/cold", "p/s/cold", "r/cold", "p/a/cold"];
    const ask = () => Promise.all(names.map((name) => fetch(engine, name)));
    const expected = ["1", "2", "3", "new", "notFound", "notFound", "notFound"];
    if (isAsked) assertEquals(await ask(), expected);
    release();
    await carriedOut(engine);
    assertEquals(await ask(), expected);
  });
}

Deno.test("P3: the second rename comes while the object is copied for the first", async () => {
  await using engine = await withFiles({ "a/cold": "evicted", "b/cold": "deleted", "a/w": "w" });
  engine.intake.removed("b/cold" as DepotPath);
  Deno.removeSync(`${engine.dir}/b`, { recursive: true });
  let isFirst = true;
  engine.primary.fault = async (operation, path) => {
    if (operation !== "copy" || path !== "b/cold" || !isFirst) return;
    isFirst = false;
    await move(engine, "b", "c");
    engine.write("b/cold", "new");
  };
  await move(engine, "a", "b");
  await carriedOut(engine);
  assertEquals(await fetch(engine, "c/cold"), "evicted");
  assertEquals(await fetch(engine, "b/cold"), "new");
});

Deno.test("P3: the disk is ahead of its events: a file at b is of the time after mv b c", async () => {
  await using engine = await withFiles({ "a/cold": "evicted", "a/w": "w" });
  const at = (name: string) => `${engine.dir}/${name}`;
  Deno.renameSync(at("a"), at("b"));
  Deno.renameSync(at("b"), at("c"));
  Deno.mkdirSync(at("b"));
  Deno.writeTextFileSync(at("b/cold"), "new");
  let isTold = false;
  engine.upToDate = async () => {
    if (isTold) return;
    isTold = true;
    await tellMoved(engine, "b", "c");
    engine.intake.changed("b/cold" as DepotPath, 3);
  };
  await tellMoved(engine, "a", "b");
  await carriedOut(engine);
  assertEquals(await fetch(engine, "c/cold"), "evicted");
  assertEquals(await fetch(engine, "b/cold"), "new");
});

Deno.test("a file that an earlier rename of its name moved away is not moved again", async () => {
  await using engine = await withFiles({ "live/cold": "live", "next/cold": "next", "next/w": "w" });
  const release = hold(engine);
  await move(engine, "live", "old");
  await move(engine, "next", "live");
  const pin = (name: string) => engine.pins.add(name);
  assertEquals(await fetch(engine, "live/cold"), "next");
  await engine.evictor.makeRoom(1_000_000);
  assertEquals(engine.has("live/cold"), false);
  pin("old/cold");
  assertEquals(await fetch(engine, "old/cold"), "live");
  release();
  await carriedOut(engine);
  assertEquals(await fetch(engine, "live/cold"), "next");
  assertEquals(await fetch(engine, "old/cold"), "live");
});

Deno.test("a chain that a crash interrupted is carried out by the next daemon", async () => {
  await using engine = await withFiles({ "a/cold": "1", "a/cold2": "2", "a/w": "w" });
  engine.primary.fault = (operation, path, afterEffect) => {
    if (operation === "copy" && path.startsWith("c/") && afterEffect) {
      throw new StorageError("transient", "the daemon died before it knew");
    }
    if (operation === "copy" && path === "b/cold2") throw new StorageError("transient", "not yet");
  };
  await move(engine, "a", "b");
  await move(engine, "b", "c");
  engine.write("b/cold", "new");
  engine.write("b/cold2", "new2");
  assertEquals(await fetch(engine, "c/cold"), "error");
  await engine.renames.stop();
  await engine.manifest.commit();
  engine.primary.fault = () => {};
  const again = engine.newRenames();
  await again.load();
  assertEquals(again.pending, 2);
  again.start();
  while (again.pending > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals([engine.stored("c/cold"), engine.stored("c/cold2")], ["1", "2"]);
  await again.stop();
});

Deno.test("P3: an object that a later rename brings to a name is not an earlier one's to take away", async () => {
  await using engine = await withFiles({ "d/c/cold": "evicted", "b/c/w": "w" });
  const release = hold(engine);
  await move(engine, "b/c", "e");
  await move(engine, "d", "b/c");
  assertEquals(await fetch(engine, "b/c/c/cold"), "evicted");
  release();
  await carriedOut(engine);
  assertEquals([engine.stored("b/c/c/cold"), engine.stored("e/c/cold")], ["evicted", null]);
});
