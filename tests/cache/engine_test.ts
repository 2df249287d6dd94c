/**
 * The life of single files in the whole engine: written, uploaded, evicted, restored, deleted.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { emptyTrash } from "../../src/cache/trash.ts";
import { CLEAN } from "../../src/manifest/schema.ts";
import { getLog } from "../../src/observe/logging.ts";
import { SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { Engine } from "./engine.ts";

/** Runs `hostile` once, in the middle of the first put of the path. */
function duringPut(engine: Engine, path: string, hostile: () => void | Promise<void>): void {
  let done = false;
  engine.primary.fault = async (operation, at, afterEffect) => {
    if (done || operation !== "put" || at !== path || !afterEffect) return;
    done = true;
    await hostile();
  };
}

Deno.test("P1: a file written while it is uploaded is uploaded again", async () => {
  await using engine = new Engine();
  duringPut(engine, "a", () => engine.write("a", "second"));
  engine.write("a", "first!"); // the same size: only the event tells
  engine.uploader.start();
  await engine.settled();
  assertEquals(engine.stored("a"), "second");
  assertEquals(engine.manifest.get("a")!.row.state, CLEAN);
});

Deno.test("P1: a file deleted and written anew while it is uploaded is not forgotten", async () => {
  await using engine = new Engine();
  duringPut(engine, "a", () => {
    Deno.removeSync(`${engine.dir}/a`);
    engine.intake.gone("a" as DepotPath);
    engine.write("a", "anew");
  });
  engine.write("a", "first");
  engine.uploader.start();
  await engine.settled();
  assertEquals(engine.stored("a"), "anew");
  assertEquals((await engine.restorer.fetch("a")).kind, "ok");
});

Deno.test("a file deleted while it is uploaded stays deleted: its object is not found", async () => {
  await using engine = new Engine();
  duringPut(engine, "a", () => {
    Deno.removeSync(`${engine.dir}/a`);
    engine.intake.gone("a" as DepotPath);
  });
  engine.write("a", "first");
  engine.uploader.start();
  await engine.settled();
  assertEquals(engine.stored("a"), "first");
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});

Deno.test("P1: a put whose answer was lost is made again, and the file stays dirty until then", async () => {
  await using engine = new Engine();
  let puts = 0;
  engine.primary.fault = (operation, _path, afterEffect) => {
    if (operation === "put" && afterEffect && ++puts === 1) {
      assertEquals(engine.manifest.counters.dirty, 1);
      throw new StorageError("transient", "the answer was lost");
    }
  };
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  assertEquals(puts, 2);
});

Deno.test("a file that somebody is writing waits, and goes when it is closed", async () => {
  await using engine = new Engine();
  const writer = Deno.openSync(`${engine.dir}/a`, { write: true, create: true });
  writer.writeSync(new TextEncoder().encode("half"));
  engine.intake.changed("a" as DepotPath, 4);
  engine.uploader.start();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assertEquals(engine.stored("a"), null);
  writer.writeSync(new TextEncoder().encode("+half"));
  writer.close();
  engine.intake.changed("a" as DepotPath, 9);
  await engine.settled();
  assertEquals(engine.stored("a"), "half+half");
});

Deno.test("a file of several slices comes back whole, with mode and mtime", async () => {
  await using engine = new Engine();
  const bytes = new Uint8Array(2 * SLICE_BYTES + 12345);
  for (let i = 0; i < bytes.length; i += 997) bytes[i] = i;
  Deno.writeFileSync(`${engine.dir}/big`, bytes, { mode: 0o440 });
  Deno.utimeSync(`${engine.dir}/big`, 1_000_000, 1_234_567);
  const before = engine.files.stat("big")!;
  engine.intake.changed("big" as DepotPath, bytes.length);
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(1);
  assert(!engine.has("big"));
  assertEquals(await engine.restorer.fetch("big"), { kind: "ok", size: bytes.length });
  assertEquals(Deno.readFileSync(`${engine.dir}/big`), bytes);
  const after = engine.files.stat("big")!;
  assertEquals([after.mode, after.mtimeNs], [before.mode, before.mtimeNs]);
  assertEquals(engine.manifest.get("big")!.row.state, CLEAN);
});

Deno.test("P1: nothing dirty is evicted, however full the cache is", async () => {
  await using engine = new Engine();
  engine.write("dirty", "x".repeat(5000));
  await engine.evictor.makeRoom(5000);
  assert(engine.has("dirty"));
});

Deno.test("P1: a clean file that changed unseen is uploaded, not evicted", async () => {
  await using engine = new Engine();
  engine.write("a", "x".repeat(5000));
  engine.uploader.start();
  await engine.settled();
  Deno.writeTextFileSync(`${engine.dir}/a`, "changed without an event");
  await engine.evictor.makeRoom(5000);
  await engine.settled();
  assertEquals(engine.read("a"), "changed without an event");
  assertEquals(engine.stored("a"), "changed without an event");
});

Deno.test("P2: an object that does not agree with its digest is never delivered", async () => {
  await using engine = new Engine();
  engine.write("a", "good content");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  assert(!engine.has("a"));
  engine.primary.objects.get("a")!.bytes[3] = 0;
  const answer = await engine.restorer.fetch("a");
  assertStringIncludes(answer.kind === "error" ? answer.why : answer.kind, "holds other content");
  assert(!engine.has("a"));
});

Deno.test("P2: slices of two versions of an object are never put together", async () => {
  await using engine = new Engine();
  const version = (byte: number) => new Uint8Array(2 * SLICE_BYTES).fill(byte);
  // As the C++ implementation stores it, without a digest: only the tag tells the versions apart.
  const info = { size: 2 * SLICE_BYTES, digest: null, mode: null, mtimeNs: null };
  engine.primary.objects.set("a", { info: { ...info, etag: '"old"' }, bytes: version(1) });
  let requests = 0;
  engine.primary.fault = (operation) => {
    if (operation !== "getRange" || ++requests !== 2) return;
    engine.primary.objects.set("a", { info: { ...info, etag: '"new"' }, bytes: version(2) });
  };
  const answer = await engine.restorer.fetch("a");
  assertStringIncludes(answer.kind === "error" ? answer.why : answer.kind, "it changed");
  assert(!engine.has("a"));
  assertEquals((await engine.restorer.fetch("a")).kind, "ok");
  assertEquals(Deno.readFileSync(`${engine.dir}/a`), version(2));
});

Deno.test("P2: a file written during its restore is not overwritten", async () => {
  await using engine = new Engine();
  engine.write("a", "old");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  engine.primary.fault = (operation) => {
    if (operation === "getRange") engine.write("a", "newer");
  };
  assertEquals(await engine.restorer.fetch("a"), { kind: "ok", size: 5 });
  assertEquals(engine.read("a"), "newer");
});

Deno.test("a path asked for by many at once is fetched once", async () => {
  await using engine = new Engine();
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  const answers = await Promise.all(Array.from({ length: 50 }, () => engine.restorer.fetch("a")));
  assertEquals(new Set(answers.map((answer) => answer.kind)), new Set(["ok"]));
  assertEquals(engine.primary.calls.filter((call) => call.operation === "getRange").length, 1);
});

const absent = () => {
  throw new StorageError("absent", "no such object");
};
const down = () => {
  throw new StorageError("transient", "unreachable");
};
const denied = () => {
  throw new StorageError("denied", "no permission");
};

Deno.test("P3: only 'absent' on every backend is 'not found'", async () => {
  const cases = [
    [absent, absent, "notFound"],
    [absent, down, "error"],
    [down, absent, "error"],
    [denied, absent, "error"],
    [down, down, "error"],
  ] as const;
  for (const [primary, secondary, kind] of cases) {
    await using engine = new Engine({ withSecondary: true });
    engine.primary.fault = primary;
    engine.secondary.fault = secondary;
    assertEquals(
      (await engine.restorer.fetch("a")).kind,
      kind,
      `${primary.name}, ${secondary.name}`,
    );
  }
});

Deno.test("an object that only the secondary has, or the primary cannot give, is restored", async () => {
  for (const primary of [absent, down]) {
    await using engine = new Engine({ withSecondary: true });
    const bytes = new Uint8Array(new TextEncoder().encode("from the secondary"));
    // As the C++ implementation stored it: no metadata.
    const info = { size: bytes.length, etag: "", mtimeNs: null, mode: null, digest: null };
    engine.secondary.objects.set("a,d/1.1", { info, bytes });
    engine.primary.fault = primary;
    assertEquals(await engine.restorer.fetch("a,d/1.1"), { kind: "ok", size: bytes.length });
    assertEquals(engine.read("a,d/1.1"), "from the secondary");
    assertEquals(engine.metrics.totals().restoresSecondary, 1);
  }
});

Deno.test("P1: no older version comes from the secondary while the primary cannot say what it has", async () => {
  await using engine = new Engine({ withSecondary: true, lowWatermarkBytes: 1_000_000 });
  engine.write("a,v", "old");
  engine.uploader.start();
  await engine.settled();
  engine.secondary.objects.set("a,v", { ...engine.primary.objects.get("a,v")! });
  engine.write("a,v", "newer");
  await engine.settled();
  await engine.evictor.makeRoom(1_000_000);
  assertEquals(engine.has("a,v"), false);
  engine.primary.fault = down;
  assertEquals((await engine.restorer.fetch("a,v")).kind, "error");
  assertEquals(engine.has("a,v"), false);
  engine.primary.fault = () => {};
  assertEquals((await engine.restorer.fetch("a,v")).kind, "ok");
  assertEquals(engine.read("a,v"), "newer");
});

Deno.test("P6: names that lead out of the depot or into the state are refused", async () => {
  await using engine = new Engine();
  for (
    const name of ["", "/etc/passwd", "../x", "a/../../x", ".p4cache/manifest", "a//b", "a\0b"]
  ) {
    assertEquals((await engine.restorer.fetch(name)).kind, "error", JSON.stringify(name));
  }
  Deno.symlinkSync("/etc", `${engine.dir}/link`);
  const answer = await engine.restorer.fetch("link/passwd");
  assertEquals(answer.kind, "error");
  assertEquals(engine.primary.calls, []);
});

Deno.test("the trash of an interrupted eviction: not let go goes back, let go is removed", async () => {
  await using engine = new Engine();
  const trash = `${engine.dir}/.p4cache/trash`;
  const kept = engine.manifest.trash.add("d/kept" as DepotPath);
  const taken = engine.manifest.trash.add("taken" as DepotPath);
  await engine.manifest.commit();
  for (const name of [kept, taken, 99]) Deno.writeTextFileSync(`${trash}/${name}`, `file ${name}`);
  Deno.writeTextFileSync(`${engine.dir}/taken`, "newer");
  const names = [String(kept), String(taken), "99"];
  await emptyTrash(engine.files, engine.manifest, names, getLog("daemon"));
  assertEquals(engine.read("d/kept"), `file ${kept}`);
  assertEquals(engine.read("taken"), "newer");
  assertEquals(engine.read(`.p4cache/conflicts/${taken}-taken`), `file ${taken}`);
  assertEquals([...Deno.readDirSync(trash)], []);
  assertEquals((await engine.manifest.trash.all()).size, 0);
});

Deno.test("the scan finds what no event told: new, changed, gone", async () => {
  await using engine = new Engine();
  for (const name of ["same", "changed", "gone"]) engine.write(name, name);
  engine.uploader.start();
  await engine.settled();
  await engine.manifest.commit();
  Deno.writeTextFileSync(`${engine.dir}/changed`, "CHANGED"); // the same size
  Deno.writeTextFileSync(`${engine.dir}/new`, "new");
  Deno.writeTextFileSync(`${engine.dir}/tmp.1.2.3`, "p4d is still writing");
  Deno.removeSync(`${engine.dir}/gone`);
  const result = await engine.scanner.scanAll();
  assertEquals(result, { files: 3, changed: 2, dropped: 1, problems: 0, others: 0 });
  await engine.settled();
  assertEquals(engine.stored("changed"), "CHANGED");
  assertEquals(engine.stored("new"), "new");
  assertEquals(engine.stored("tmp.1.2.3"), null);
  // Nobody saw p4d delete it: its object still stands for it.
  assertEquals((await engine.restorer.fetch("gone")).kind, "ok");
});

Deno.test("P1: a file whose event comes during its eviction goes back and is uploaded again", async () => {
  await using engine = new Engine();
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  const evicting = engine.evictor.makeRoom(100);
  while (!engine.activity.evictions.has("a")) await new Promise((resolve) => setTimeout(resolve));
  engine.intake.changed("a" as DepotPath, 7);
  await evicting;
  assertEquals(engine.read("a"), "content");
  await engine.settled();
  assertEquals(engine.primary.calls.filter((call) => call.operation === "put").length, 2);
});

Deno.test("P3: a file that was evicted before it was excluded is found, and left alone from then on", async () => {
  await using engine = new Engine();
  engine.write("a.bak", "kept");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(1_000_000);
  assertEquals(engine.has("a.bak"), false);
  engine.exclude = ["*.bak"];
  assertEquals(await engine.restorer.fetch("a.bak"), { kind: "ok", size: 4 });
  assertEquals(engine.read("a.bak"), "kept");
  assertEquals(engine.manifest.get("a.bak"), null);
  assertEquals(await engine.restorer.fetch("db.have"), { kind: "notFound" });
});

Deno.test("a file that p4d replaces and removes during the eviction of the old one does not come back", async () => {
  await using engine = new Engine();
  engine.write("a", "old");
  engine.uploader.start();
  await engine.settled();
  const evicting = engine.evictor.makeRoom(100);
  while (!engine.activity.evictions.has("a")) await new Promise((resolve) => setTimeout(resolve));
  while (engine.has("a")) await new Promise((resolve) => setTimeout(resolve));
  // The old file is in the trash. Another one comes to its path, and goes.
  engine.intake.changed("a" as DepotPath, 5);
  engine.intake.gone("a" as DepotPath, true);
  await evicting;
  assertEquals(engine.has("a"), false);
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});

Deno.test("a new file at an evicted path that is removed before its first event does not bring the old one back", async () => {
  await using engine = new Engine();
  engine.write("a", "old");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(1_000_000);
  assertEquals([engine.has("a"), engine.manifest.get("a")], [false, null]);
  // A late close of a file that was replaced before tells nothing of the evicted one.
  engine.intake.gone("a" as DepotPath);
  assertEquals(engine.manifest.isTombstoned("a"), false);
  engine.intake.gone("a" as DepotPath, true);
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});
