/**
 * Files that changed when nobody could see it, and that look like the version that was stored: the
 * interleavings that `src/cache/unseen_changes.ts` lists.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Watcher, WatchRecord } from "../../ffi/watch.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Scanner } from "../../src/cache/scanner.ts";
import { UnseenChanges } from "../../src/cache/unseen_changes.ts";
import { parseCounters } from "../../src/manifest/counters.ts";
import { CLEAN, DIRTY } from "../../src/manifest/schema.ts";
import { Engine } from "./engine.ts";

const A = "a" as DepotPath;
const LOSS: WatchRecord = {
  kind: "reconcile",
  path: "" as DepotPath,
  size: 0,
  mtimeNs: 0n,
  mode: 0,
  id: 0,
};

/** Later than any event of these tests, s: rows begun from now on are not in doubt. */
const LATER_SECONDS = 5;

/** An engine that stored "first!" as `a`, a while ago. */
async function withStored(test: (engine: Engine) => Promise<void>): Promise<void> {
  await using engine = new Engine();
  engine.write("a", "first!");
  engine.uploader.start();
  await engine.settled();
  await engine.manifest.commit();
  await test(engine);
}

/** Puts a file that looks the same in the place of `a`; no event tells. */
async function replaceUnseen(engine: Engine): Promise<void> {
  const { mtimeNs, ctimeNs } = engine.files.stat("a")!;
  // Told until a moment that is before the change, by more than the margin.
  engine.toldUntilNs = ctimeNs + 1n;
  Deno.writeTextFileSync(`${engine.dir}/tmp.1.2.3`, "second");
  const at = `@${mtimeNs / 1_000_000_000n}.${String(mtimeNs % 1_000_000_000n).padStart(9, "0")}`;
  const touch = new Deno.Command("touch", { args: ["-d", at, `${engine.dir}/tmp.1.2.3`] });
  assertEquals((await touch.output()).code, 0);
  Deno.renameSync(`${engine.dir}/tmp.1.2.3`, `${engine.dir}/a`);
  assertEquals(engine.files.stat("a")!.mtimeNs, mtimeNs);
}

async function expectSecondStored(engine: Engine): Promise<void> {
  await engine.settled();
  assertEquals(engine.stored("a"), "second");
  assertEquals(engine.read("a"), "second");
}

Deno.test("P1: after a loss the comparison finds a file that looks like the stored version", () =>
  withStored(async (engine) => {
    await replaceUnseen(engine);
    assertEquals((await engine.scanner.scanAll()).changed, 0, "without a loss looks are enough");
    engine.unseen.lost();
    assertEquals((await engine.scanner.scanAll()).changed, 1);
    assertEquals(engine.unseen.doubt, null);
    await expectSecondStored(engine);
  }));

Deno.test("after a loss files that are as they were are read, and not sent again", () =>
  withStored(async (engine) => {
    engine.toldUntilNs = engine.files.stat("a")!.ctimeNs;
    engine.unseen.lost();
    assertEquals((await engine.scanner.scanAll()).changed, 1);
    await engine.settled();
    assertEquals(engine.primary.calls.filter(({ operation }) => operation === "put").length, 1);
    assertEquals(engine.manifest.get("a")!.row.state, CLEAN);
  }));

Deno.test("P1: a loss that a running eviction's barrier takes in lets nothing go", () =>
  withStored(async (engine) => {
    await replaceUnseen(engine);
    const told = Promise.withResolvers<WatchRecord[]>(),
      ended = Promise.withResolvers<WatchRecord[]>();
    const answers = [told.promise, ended.promise];
    let isQuiet = true;
    const watcher = {
      next: () => answers.shift(),
      isQuiet: () => isQuiet,
      barrier: (id: number) => told.resolve([LOSS, { ...LOSS, kind: "barrier", id }]),
      toldUntilNs: () => engine.toldUntilNs,
    };
    const running = engine.intake.run(
      watcher as unknown as Watcher,
      engine.scanner as unknown as Scanner,
    );
    const begin = engine.files.beginEviction.bind(engine.files);
    let wasTaken = false;
    engine.files.beginEviction = async (trash, candidates) => {
      const batch = await begin(trash, candidates);
      wasTaken = !engine.has("a");
      isQuiet = false;
      return batch;
    };
    await engine.evictor.makeRoom(100);
    assert(wasTaken, "nothing was in doubt when it began");
    assert(engine.has("a"));
    ended.resolve([]);
    await running;
    await expectSecondStored(engine);
  }));

Deno.test("P1: between a loss and its comparison, what may have changed is stored, not evicted", () =>
  withStored(async (engine) => {
    await replaceUnseen(engine);
    engine.unseen.lost();
    await engine.evictor.makeRoom(100);
    assert(engine.has("a"));
    await expectSecondStored(engine);
  }));

Deno.test("a file in doubt that was stored again may go, though nothing was compared", () =>
  withStored(async (engine) => {
    await replaceUnseen(engine);
    engine.unseen.lost();
    engine.laterSeconds = LATER_SECONDS;
    await engine.evictor.makeRoom(100);
    await expectSecondStored(engine);
    engine.laterSeconds *= 2; // not too young
    await engine.evictor.makeRoom(100);
    assert(!engine.has("a"));
    assertEquals((await engine.restorer.fetch("a")).kind, "ok");
    assertEquals(engine.read("a"), "second");
  }));

Deno.test("P1: an upload that opened its file before the loss leaves it dirty", async () => {
  await using engine = new Engine();
  let isLost = false;
  engine.primary.fault = (operation, _path, afterEffect) => {
    if (isLost || operation !== "put" || !afterEffect) return;
    isLost = true;
    engine.unseen.lost();
  };
  engine.write("a", "first!");
  engine.uploader.start();
  await engine.settled();
  assertEquals(engine.primary.calls.filter(({ operation }) => operation === "put").length, 2);
});

Deno.test("P1: a row that became clean before the loss, and is not committed, is looked at too", () =>
  withStored(async (engine) => {
    const { manifest } = engine;
    const clean = manifest.get("a")!;
    manifest.set(A, { row: { ...clean.row, state: DIRTY }, version: null });
    await manifest.commit();
    manifest.set(A, clean);
    await replaceUnseen(engine);
    engine.unseen.lost();
    assertEquals((await engine.scanner.scanAll()).changed, 1);
  }));

Deno.test("P1: the next start doubts from the last time that was saved, and a doubt does not let it go on", () =>
  withStored(async (engine) => {
    const { files, manifest, activity } = engine;
    const start = (nowMs: number) =>
      new UnseenChanges({
        files,
        manifest,
        activity,
        toldUntilNs: () => BigInt(nowMs) * 1_000_000n,
        restoredSince: null,
        isWatched: true,
        nowMs: () => nowMs,
      });
    const first = Date.now() + 60_000;
    let next = start(first);
    const from = next.doubt!.fromNs;
    assert(from < files.stat("a")!.ctimeNs);
    const saved = async () => {
      await manifest.setRunning(true);
      return parseCounters(manifest.table("meta").get("counters"))!.toldUntilNs;
    };
    assertEquals(await saved(), from);
    // Killed before the comparison: still from then.
    next = start(first + 60_000);
    assertEquals(next.doubt!.fromNs, from);
    next.searched(next.search(), false);
    assertEquals(next.doubt!.fromNs, from, "a comparison that failed settles nothing");
    next.searched(next.search(), true);
    assertEquals(next.doubt, null);
    assert((await saved())! > from);
  }));

Deno.test("a loss during a comparison is not settled by it", async () => {
  await using engine = new Engine();
  const { unseen } = engine;
  engine.toldUntilNs = BigInt(Date.now() + 10_000) * 1_000_000n;
  unseen.lost();
  const running = unseen.search();
  unseen.lost();
  unseen.searched(running, true);
  assert(unseen.doubt !== null);
  unseen.searched(unseen.search(), true);
  assertEquals(unseen.doubt, null);
});

Deno.test("a depot that was copied is not in doubt: all its ctimes are new", () =>
  withStored((engine) => {
    const { manifest, activity } = engine;
    const copied = new UnseenChanges({
      files: { identity: () => "another directory" },
      manifest,
      activity,
      toldUntilNs: () => 0n,
      restoredSince: null,
      isWatched: true,
      nowMs: () => Date.now(),
    });
    assertEquals(copied.doubt, null);
    return Promise.resolve();
  }));
