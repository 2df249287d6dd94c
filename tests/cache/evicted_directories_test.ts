/**
 * Directories that are renamed, and others that take their names, while one of their files is being
 * evicted, or while nobody watches; one subject, however long. Each case is one interleaving, forced.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { emptyTrash, putBackMoved } from "../../src/cache/trash.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { getLog } from "../../src/observe/logging.ts";
import type { Engine } from "./engine.ts";
import { carriedOut, fetch, move, removeWithCold, tellMoved, withFiles } from "./renaming.ts";

const log = getLog("daemon");

/** Every directory is known, as soon after every start. */
async function learned(engine: Engine): Promise<void> {
  await engine.identities.compare();
  await engine.identities.learned();
  await engine.manifest.commit();
}

/** `mv from to` that nobody sees. */
function moveUnseen(engine: Engine, from: string, to: string): void {
  Deno.renameSync(`${engine.dir}/${from}`, `${engine.dir}/${to}`);
}

/** Does this when a search has begun, before it looks at the directories. */
function beforeNextWalk(engine: Engine, work: () => void): void {
  const walk = engine.files.walkDirectories.bind(engine.files);
  engine.files.walkDirectories = () => {
    engine.files.walkDirectories = walk;
    work();
    return walk();
  };
}

/** What the start after a kill does. */
async function startAnew(engine: Engine): Promise<void> {
  const { files, manifest, identities, intake } = engine;
  const names = Array.from(Deno.readDirSync(`${engine.dir}/.p4cache/trash`), ({ name }) => name);
  const left = await emptyTrash(files, manifest, names, log, true);
  const onBack = (path: DepotPath, size: number) => intake.changed(path, size);
  const put = () => putBackMoved(files, manifest, identities, left, log, onBack);
  engine.uploader.hold(identities.compare(put));
  await identities.settled();
  await manifest.commit();
  assertEquals(await manifest.table("rename_search").after(""), [], "kept beyond the search");
  await identities.learned();
  await engine.scanner.scanAll();
  await carriedOut(engine);
}

/** The trash as a kill leaves it after the file was taken from its directory. */
async function leaveInTrash(engine: Engine, path: string): Promise<number> {
  const dir = path.slice(0, path.lastIndexOf("/")) as DepotPath;
  const id = engine.manifest.trash.add(path as DepotPath, engine.identities.find(dir).identity);
  await engine.manifest.commit();
  moveUnseen(engine, path, `.p4cache/trash/${id}`);
  return id;
}

const kept = (engine: Engine) =>
  Array.from(Deno.readDirSync(`${engine.dir}/.p4cache/conflicts`), ({ name }) => name);

/** Evicts everything that may go, and does this while the files are in the trash. */
async function duringEviction(engine: Engine, work: () => Promise<void>): Promise<void> {
  const begin = engine.files.beginEviction.bind(engine.files);
  engine.files.beginEviction = async (trash, candidates) => {
    engine.files.beginEviction = begin;
    const batch = await begin(trash, candidates);
    assertEquals(candidates.map(({ path }) => engine.has(path)), [false]);
    await work();
    return batch;
  };
  await engine.evictor.makeRoom(1_000_000);
  assert(engine.files.beginEviction === begin, "nothing was evicted");
}

for (const isAsked of [false, true]) {
  const what = isAsked ? "and asked for by its new name at that moment" : "told at once";
  Deno.test(`P1: mv a b; mv c a while a/f is in the trash, ${what}`, async () => {
    await using engine = await withFiles({ "a/f": "of a", "c/f": "of c", "c/cold": "cold" });
    await learned(engine);
    engine.pins.remove("a/f");
    let asked: Promise<string> | null = null;
    await duringEviction(engine, async () => {
      await move(engine, "a", "b");
      await move(engine, "c", "a");
      if (isAsked) asked = fetch(engine, "b/f");
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
    if (isAsked) assertEquals(await asked, "of a");
    await carriedOut(engine);
    assertEquals([engine.read("b/f"), engine.read("a/f")], ["of a", "of c"]);
    assertEquals([engine.stored("b/f"), engine.stored("a/f")], ["of a", "of c"]);
    assertEquals(await fetch(engine, "a/cold"), "cold");
    assertEquals(kept(engine), []);
  });
}

/** Files of one name in two directories, alike in all but their bytes. */
async function withTwins(): Promise<Engine> {
  const engine = await withFiles({ "a/f": "of a", "c/f": "of c" });
  for (const name of ["a/f", "c/f"]) {
    Deno.utimeSync(`${engine.dir}/${name}`, 1_700_000_000, 1_700_000_000);
    engine.intake.changed(name as DepotPath, 4);
  }
  await engine.settled();
  await learned(engine);
  engine.pins.remove("a/f");
  return engine;
}

function swapUnseen(engine: Engine): void {
  moveUnseen(engine, "a", "t");
  moveUnseen(engine, "c", "a");
  moveUnseen(engine, "t", "c");
}

Deno.test("P1: two directories change places right before the kernel's step: nothing is taken", async () => {
  await using engine = await withTwins();
  const begin = engine.files.beginEviction.bind(engine.files);
  let takenFrom: string[] = [];
  engine.files.beginEviction = async (trash, candidates) => {
    engine.files.beginEviction = begin;
    swapUnseen(engine);
    const batch = await begin(trash, candidates);
    takenFrom = candidates.filter(({ path }) => !engine.has(path)).map(({ path }) => path);
    for (const [from, to] of [["a", "t"], ["c", "a"], ["t", "c"]]) {
      await tellMoved(engine, from!, to!);
    }
    return batch;
  };
  await engine.evictor.makeRoom(1);
  assert(engine.files.beginEviction === begin, "nothing was evicted");
  assertEquals(takenFrom, []);
  await carriedOut(engine);
  assertEquals(await fetch(engine, "c/f"), "of a");
  assertEquals(await fetch(engine, "a/f"), "of c");
});

Deno.test("P1: two directories have changed places before their events come; then the daemon is killed", async () => {
  await using engine = await withTwins();
  swapUnseen(engine);
  await leaveInTrash(engine, "a/f");
  await startAnew(engine);
  assertEquals([engine.read("c/f"), engine.read("a/f")], ["of a", "of c"]);
  assertEquals(kept(engine), []);
});

Deno.test("P1: of a directory that is not known nothing is taken while directories are renamed", async () => {
  await using engine = await withFiles({ "d/f": "of d", "x/f": "of x" });
  engine.pins.remove("d/f");
  const { intake, files } = engine;
  const barrier = intake.barrier.bind(intake), begin = files.beginEviction.bind(files);
  let takes = 0;
  intake.barrier = async () => {
    intake.barrier = barrier;
    await move(engine, "x", "y");
    await barrier();
  };
  files.beginEviction = (...args) => {
    takes++;
    return begin(...args);
  };
  await engine.evictor.makeRoom(1);
  assertEquals([takes, engine.has("d/f")], [0, true]);
  // Nothing came between this time.
  await engine.evictor.makeRoom(1);
  assertEquals([takes, engine.has("d/f")], [1, false]);
  assertEquals(await fetch(engine, "d/f"), "of d");
});

Deno.test("P1: of a directory that was away when it was looked at nothing is taken", async () => {
  await using engine = await withFiles({ "a/f": "of a" });
  await learned(engine);
  engine.pins.remove("a/f");
  const { files } = engine;
  const identity = files.identity.bind(files);
  files.identity = () => {
    files.identity = identity;
    return null;
  };
  await engine.evictor.makeRoom(1);
  assert(engine.has("a/f"), "a crash would put it back to whatever has the name by then");
  await engine.evictor.makeRoom(1);
  assert(!engine.has("a/f"));
});

Deno.test("P3: a file of a directory that was renamed unseen stays until that is taken in", async () => {
  await using engine = await withFiles({ "a/cold": "of a", "x/f": "of x" });
  await learned(engine);
  moveUnseen(engine, "a", "d");
  engine.write("d/new", "new");
  await engine.settled();
  engine.pins.remove("x/f");
  await engine.evictor.makeRoom(1_000);
  assert(engine.has("d/new"), "its directory would count as a new one");
  assert(!engine.has("x/f"), "it was chosen together with the other");
  await engine.identities.compare();
  assertEquals(await fetch(engine, "d/cold"), "of a");
  await carriedOut(engine);
  await engine.evictor.makeRoom(1_000);
  assert(!engine.has("d/new"));
});

Deno.test("P3: what is removed in the directory that took the name is none of the evicted file's", async () => {
  await using engine = await withFiles({ "a/f": "of a", "c/f": "of c" });
  await learned(engine);
  engine.pins.remove("a/f");
  await duringEviction(engine, async () => {
    await move(engine, "a", "b");
    await move(engine, "c", "a");
    Deno.removeSync(`${engine.dir}/a/f`);
    engine.intake.gone("a/f" as DepotPath, true);
  });
  await carriedOut(engine);
  assertEquals(await fetch(engine, "b/f"), "of a");
  assertEquals(await fetch(engine, "a/f"), "notFound");
});

Deno.test("P1: killed with a file in the trash; its directory is elsewhere, and another has its name", async () => {
  await using engine = await withFiles({ "a/f": "of a", "c/f": "of c", "a/cold": "cold a" });
  await learned(engine);
  await leaveInTrash(engine, "a/f");
  moveUnseen(engine, "a", "b");
  moveUnseen(engine, "c", "a");
  await startAnew(engine);
  assertEquals([engine.read("b/f"), engine.read("a/f")], ["of a", "of c"]);
  assertEquals(await fetch(engine, "b/cold"), "cold a");
  assertEquals(await fetch(engine, "a/cold"), "notFound");
  assertEquals(kept(engine), []);
});

Deno.test("P1: killed when the trash knew of a rename, and the rest did not; then it is renamed again", async () => {
  await using engine = await withFiles({ "a/f": "of a", "c/f": "of c" });
  await learned(engine);
  const id = await leaveInTrash(engine, "a/f");
  const { identity } = engine.identities.find("a" as DepotPath);
  engine.manifest.trash.move(id, "b/f" as DepotPath, identity);
  await engine.manifest.commit();
  moveUnseen(engine, "a", "e");
  moveUnseen(engine, "c", "b");
  await startAnew(engine);
  assertEquals([engine.read("e/f"), engine.read("b/f")], ["of a", "of c"]);
  assertEquals(kept(engine), []);
});

Deno.test("killed with a file in the trash whose directory is removed and replaced: it is kept aside", async () => {
  await using engine = await withFiles({ "a/f": "of a", "c/cold": "of c" });
  await learned(engine);
  const id = await leaveInTrash(engine, "a/f");
  Deno.removeSync(`${engine.dir}/a`);
  moveUnseen(engine, "c", "a");
  await startAnew(engine);
  assert(!engine.has("a/f"), "it would be a file of another directory");
  assertEquals(kept(engine), [`${id}-f`]);
  assertEquals(await fetch(engine, "a/cold"), "of c");
  assertEquals(engine.stored("a/f"), "of a"); // nothing is deleted
});

Deno.test("P3: a directory leaves another one, and that is renamed too, while nobody watches", async () => {
  await using engine = await withFiles({ "b/c/cold": "in c", "b/cold": "in b", "b/c/s/cold": "s" });
  await learned(engine);
  Deno.mkdirSync(`${engine.dir}/d`);
  moveUnseen(engine, "b/c", "d/c");
  moveUnseen(engine, "b", "e");
  await startAnew(engine);
  assertEquals(await fetch(engine, "d/c/cold"), "in c");
  assertEquals(await fetch(engine, "d/c/s/cold"), "s");
  assertEquals(await fetch(engine, "e/cold"), "in b");
  assertEquals(await fetch(engine, "e/c/cold"), "notFound");
});

Deno.test("P3: a directory takes the name of the one it was in, while nobody watches", async () => {
  await using engine = await withFiles({ "b/c/cold": "in c", "b/cold": "in b" });
  await learned(engine);
  moveUnseen(engine, "b/c", "t");
  Deno.removeSync(`${engine.dir}/b`);
  moveUnseen(engine, "t", "b");
  await startAnew(engine);
  assertEquals(await fetch(engine, "b/cold"), "in c");
});

Deno.test("P3: a directory takes the name of one that nobody knew, while nobody watches", async () => {
  await using engine = await withFiles({ "d/cold": "of d" });
  await learned(engine);
  Deno.mkdirSync(`${engine.dir}/a`);
  engine.write("a/cold", "of a");
  await engine.settled();
  moveUnseen(engine, "a", "e");
  moveUnseen(engine, "d", "a");
  await startAnew(engine);
  assertEquals(await fetch(engine, "a/cold"), "of d");
  assertEquals([engine.read("e/cold"), engine.stored("e/cold")], ["of a", "of a"]);
  assertEquals(await fetch(engine, "d/cold"), "notFound");
});

Deno.test("P2: a directory takes the name of a removed one unseen: its files are its own, nothing is deleted", async () => {
  await using engine = await withFiles({ "a/cold": "of a", "b/cold": "of b" });
  await learned(engine);
  Deno.removeSync(`${engine.dir}/b`);
  moveUnseen(engine, "a", "b");
  await startAnew(engine);
  assertEquals(await fetch(engine, "b/cold"), "of a");
  const contents = [...engine.primary.objects.values()]
    .map(({ bytes }) => new TextDecoder().decode(bytes));
  assert(contents.includes("of b"), "nobody said that it was deleted");
});

Deno.test("P3: a new directory is renamed and back, the latter unseen: nothing of it is left under that name", async () => {
  await using engine = await withFiles({ "d/cold": "of d" });
  await learned(engine);
  Deno.mkdirSync(`${engine.dir}/b`);
  engine.write("b/cold", "of b");
  await engine.settled();
  // The event of the first is read when the second has happened.
  await engine.intake.renamed("b" as DepotPath, "e" as DepotPath);
  await carriedOut(engine);
  await move(engine, "d", "e");
  await carriedOut(engine);
  assertEquals(await fetch(engine, "e/cold"), "of d");
  assertEquals(engine.stored("b/cold"), "of b");
});

for (const isRemoved of [false, true]) {
  const what = isRemoved ? "removed" : "renamed";
  Deno.test(`P3: a directory is ${what} and replaced unseen while it is noted what every one is`, async () => {
    await using engine = await withFiles({ "d/cold": "of d", "e/f": "of e" });
    await learned(engine);
    const walk = engine.files.walkDirectories.bind(engine.files);
    let walks = 0;
    engine.files.walkDirectories = () => {
      // The first is the comparison's.
      if (++walks === 2) {
        if (isRemoved) Deno.removeSync(`${engine.dir}/d`);
        else moveUnseen(engine, "d", "e/c");
        Deno.mkdirSync(`${engine.dir}/d`);
      }
      return walk();
    };
    await learned(engine);
    engine.files.walkDirectories = walk;
    await learned(engine);
    await carriedOut(engine);
    const [there, here] = ["e/c", "d"].map((dir) => engine.files.identity(dir as DepotPath));
    assertEquals(engine.identities.pathOf(here!), "d");
    if (isRemoved) return;
    assertEquals(engine.identities.pathOf(there!), "e/c");
    assertEquals(await fetch(engine, "e/c/cold"), "of d");
    assertEquals(await fetch(engine, "d/cold"), "notFound");
  });
}

Deno.test("P3: a new file where one was deleted, before a rename of its directory is found: that takes the other's object", async () => {
  await using engine = await withFiles({ "d/cold": "deleted", "a/cold": "of a" });
  await learned(engine);
  await removeWithCold(engine, "d");
  const goesOn = Promise.withResolvers<void>();
  engine.primary.fault = (operation) => operation === "list" ? goesOn.promise : undefined;
  await move(engine, "a", "d");
  moveUnseen(engine, "d", "e");
  Deno.mkdirSync(`${engine.dir}/d`);
  beforeNextWalk(engine, () => engine.write("d/cold", "new"));
  engine.uploader.hold(engine.identities.compare());
  await engine.identities.settled();
  goesOn.resolve();
  await carriedOut(engine);
  assertEquals(await fetch(engine, "e/cold"), "of a");
  assertEquals([engine.read("d/cold"), engine.stored("d/cold")], ["new", "new"]);
  assertEquals(await engine.manifest.table("rename_search").after(""), []);
});

Deno.test("P1: what is deleted under the old name before a rename is found is not what was renamed", async () => {
  await using engine = await withFiles({ "b/cold": "of b" });
  await learned(engine);
  moveUnseen(engine, "b", "e");
  const begun = Promise.withResolvers<void>();
  beforeNextWalk(engine, () => {
    Deno.mkdirSync(`${engine.dir}/b`);
    engine.write("b/cold", "new");
    Deno.removeSync(`${engine.dir}/b/cold`);
    engine.intake.gone("b/cold" as DepotPath, true);
    begun.resolve();
  });
  // The first search ends with its daemon.
  engine.identities.compare();
  await begun.promise;
  await engine.identities.stop();
  assert(engine.manifest.isTombstoned("b/cold"));
  const next = engine.newIdentities();
  engine.uploader.hold(next.compare());
  await next.settled();
  await carriedOut(engine);
  assertEquals(await fetch(engine, "e/cold"), "of b");
  assertEquals(await fetch(engine, "b/cold"), "notFound");
  await next.stop();
});

Deno.test("P3: asked for before the search has ended, a file comes back from the trash to where it is", async () => {
  await using engine = await withFiles({ "a/f": "of a" });
  await learned(engine);
  const id = await leaveInTrash(engine, "a/f");
  // Killed when the trash knew of `mv a b`, and before it knew that the directory came back.
  const directory = engine.identities.find("a" as DepotPath).identity;
  engine.manifest.trash.move(id, "b/f" as DepotPath, directory);
  await engine.manifest.commit();
  engine.primary.objects.delete("a/f");
  const walk = engine.files.walkDirectories.bind(engine.files);
  const begun = Promise.withResolvers<void>(), goesOn = Promise.withResolvers<void>();
  engine.files.walkDirectories = () => {
    const inner = walk();
    begun.resolve();
    const next = () => goesOn.promise.then(() => inner.next());
    return { handle: inner.handle, next, close: () => inner.close() };
  };
  const starting = startAnew(engine);
  await begun.promise;
  const asked = fetch(engine, "a/f");
  await new Promise((resolve) => setTimeout(resolve, 20));
  goesOn.resolve();
  assertEquals(await asked, "of a");
  await starting;
});

Deno.test("P2: asked for before the search has ended, a file is the one of its directory", async () => {
  await using engine = await withFiles({ "a/cold": "of a", "d/cold": "of d" });
  await learned(engine);
  moveUnseen(engine, "d", "e");
  moveUnseen(engine, "a", "d");
  const searching = engine.identities.compare();
  assertEquals(await fetch(engine, "d/cold"), "of a");
  await searching;
  await carriedOut(engine);
  assertEquals(await fetch(engine, "e/cold"), "of d");
});

Deno.test("P2: killed before the records had moved with a directory: nothing is left under its old name", async () => {
  await using engine = await withFiles({ "a/w": "of a", "c/cold": "cold" });
  const { manifest } = engine;
  const pathsAfter = manifest.pathsAfter.bind(manifest);
  manifest.pathsAfter = (after, ...more) =>
    after.startsWith("a/") ? new Promise(() => {}) : pathsAfter(after, ...more);
  moveUnseen(engine, "a", "b");
  engine.intake.renamed("a" as DepotPath, "b" as DepotPath).catch(() => {});
  while (engine.renames.pending === 0) await new Promise((resolve) => setTimeout(resolve));
  while ((await manifest.table("renames").after("")).length === 0) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  manifest.pathsAfter = pathsAfter;
  const next = engine.newRenames();
  await next.load();
  assertEquals(manifest.get("a/w" as DepotPath), null);
  assert(manifest.isTombstoned("a/w" as DepotPath));
  assert(manifest.get("b/w" as DepotPath) !== null);
  await next.stop();
});
