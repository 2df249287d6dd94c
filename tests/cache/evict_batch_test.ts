/**
 * One batch of an eviction, and what p4d does at the paths meanwhile.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { Engine } from "./engine.ts";

Deno.test("P3: a directory is known for good before a file of it goes to the trash", async () => {
  await using engine = new Engine();
  Deno.mkdirSync(`${engine.dir}/d`);
  engine.write("d/a", "x".repeat(5000));
  engine.uploader.start();
  await engine.settled();
  const beginEviction = engine.files.beginEviction.bind(engine.files);
  let isKnown = false;
  engine.files.beginEviction = async (trash, candidates) => {
    isKnown = (await engine.manifest.table("directory_identities").after("")).length > 0;
    return await beginEviction(trash, candidates);
  };
  await engine.evictor.makeRoom(5000);
  assert(!engine.has("d/a"));
  assert(isKnown, "after a crash it would not be found again where it was renamed to");
});

/** Evicts a stored file; something new comes to its path while it is in the trash. */
async function conflictsOf(isReplaced: boolean): Promise<string[]> {
  await using engine = new Engine();
  engine.write("a", "old");
  engine.uploader.start();
  await engine.settled();
  const evicting = engine.evictor.makeRoom(100);
  let hasEnded = false;
  evicting.finally(() => hasEnded = true);
  while (engine.has("a") && !hasEnded) await new Promise((resolve) => setTimeout(resolve));
  assert(!engine.has("a"));
  Deno.writeTextFileSync(`${engine.dir}/new`, "newer");
  Deno.renameSync(`${engine.dir}/new`, `${engine.dir}/a`);
  engine.intake.changed("a" as DepotPath, 5, isReplaced);
  await evicting;
  await engine.settled();
  assertEquals([engine.read("a"), engine.stored("a")], ["newer", "newer"]);
  assertEquals([...Deno.readDirSync(`${engine.dir}/.p4cache/trash`)], []);
  const conflicts = `${engine.dir}/.p4cache/conflicts`;
  return [...Deno.readDirSync(conflicts)].map(({ name }) =>
    Deno.readTextFileSync(`${conflicts}/${name}`)
  );
}

Deno.test("a file that p4d replaces by a rename during its eviction is no more, as without us", async () => {
  assertEquals(await conflictsOf(true), []);
});

Deno.test("P1: where a new file was made, the one that its maker did not find is kept aside", async () => {
  assertEquals(await conflictsOf(false), ["old"]);
});

Deno.test("P3: what p4d replaces and then removes during an eviction does not come back, however late it is removed", async () => {
  await using engine = new Engine();
  for (const name of ["a", "b"]) engine.write(name, "old");
  engine.uploader.start();
  await engine.settled();
  const { files, manifest } = engine;
  const beginEviction = files.beginEviction.bind(files);
  files.beginEviction = async (trash, candidates) => {
    const batch = await beginEviction(trash, candidates);
    Deno.writeTextFileSync(`${engine.dir}/new`, "newer");
    Deno.renameSync(`${engine.dir}/new`, `${engine.dir}/a`);
    engine.intake.changed("a" as DepotPath, 5, true);
    const preload = manifest.preload.bind(manifest);
    // For the record of "b", which is let go: by now it is decided that "a" is not.
    manifest.preload = (paths) => {
      if (paths.join() === "b") Deno.removeSync(`${engine.dir}/a`);
      preload(paths);
    };
    return batch;
  };
  await engine.evictor.makeRoom(10_000);
  assertEquals([engine.has("a"), engine.has("b")], [false, false]);
  assertEquals([...Deno.readDirSync(`${engine.dir}/.p4cache/trash`)], []);
});
