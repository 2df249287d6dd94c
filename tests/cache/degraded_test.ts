/**
 * What the engine does when it was not told everything: rows of another program, lost events.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Scanner } from "../../src/cache/scanner.ts";
import { until } from "../e2e/daemon_process.ts";
import { EDQUOT, EIO, ENOSPC, EROFS } from "../../ffi/errno.ts";
import { KvError } from "../../ffi/kv.ts";
import { isDiskFull } from "../../src/manifest/open_manifest.ts";
import type { Watcher, WatchRecord } from "../../ffi/watch.ts";
import { drainSeconds } from "../../src/admin/status.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { Engine } from "./engine.ts";

const puts = (engine: Engine) =>
  engine.primary.calls.filter(({ operation }) => operation === "put").length;

for (const kind of ["transient", "denied"] as const) {
  Deno.test(`a backend that is ${kind} is probed, not hammered, and everything goes when it is back`, async () => {
    await using engine = new Engine();
    let isDown = true;
    engine.primary.fault = (operation) => {
      if (isDown && operation === "put") throw new StorageError(kind, "as the test wants it");
    };
    for (let i = 0; i < 300; i++) engine.write(`f${i}`, "x".repeat(100));
    engine.laterSeconds = 50;
    engine.uploader.start();
    await until("it says so", () => engine.health.isRaised("backend_down"));
    assertEquals(engine.health.conditions.map(({ name }) => name), ["backend_down"]);
    const before = puts(engine);
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert(puts(engine) - before <= 4, `${puts(engine) - before} puts in 2.5 s`);
    assert(engine.uploader.oldestDirtySeconds >= 50);
    const text = await engine.metricsText();
    assert(/p4cache_dirty_bytes\{[^}]*\} 30000\n/.test(text), text);
    assert(/p4cache_degraded\{condition="backend_down"[^}]*\} 1\n/.test(text), text);
    const { health, manifest } = engine;
    const whenDone = () => drainSeconds({ rates: { drainSeconds: () => 7 }, health, manifest });
    assertEquals(whenDone(), null);
    // Full or not: what is only here stays, and is served.
    await engine.evictor.makeRoom(1_000_000);
    for (let i = 0; i < 300; i++) assert(engine.has(`f${i}`));
    assertEquals(await engine.restorer.fetch("f0"), { kind: "ok", size: 100 });
    isDown = false;
    await engine.settled();
    await until("it is over", () => !engine.health.isRaised("backend_down"));
    assertEquals(whenDone(), 7);
  });
}

Deno.test("what was given up for the manifest is for no restore, until the manifest is written", async () => {
  // LMDB says EIO of a write that a full disk cut short.
  for (const code of [EIO, ENOSPC, EDQUOT]) assert(isDiskFull(new KvError(-code, "a test")));
  assert(!isDiskFull(new KvError(-EROFS, "a test")));
  await using engine = new Engine();
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  assert(!engine.has("a"));
  engine.health.raise("manifest_unwritable", "a test");
  await engine.manifest.commit();
  engine.reserve.release();
  assertEquals((await engine.restorer.fetch("a")).kind, "error");
  assert(!engine.has("a"));
  engine.health.clear("manifest_unwritable");
  assertEquals(await engine.restorer.fetch("a"), { kind: "ok", size: 7 });
});

Deno.test("a restore goes on while the manifest cannot be written, unless for want of room", async () => {
  await using engine = new Engine();
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  await engine.evictor.makeRoom(100);
  engine.health.raise("manifest_unwritable", "a test");
  assertEquals(engine.reserve.isHeld, true);
  assertEquals(await engine.restorer.fetch("a"), { kind: "ok", size: 7 });
});

Deno.test("a file without version, as the C++ implementation leaves it, is stored again before it goes", async () => {
  await using engine = new Engine();
  Deno.writeTextFileSync(`${engine.dir}/a`, "content");
  engine.primary.objects.set("a", {
    info: { size: 7, etag: "old", mtimeNs: null, mode: null, digest: null },
    bytes: Uint8Array.from("DAMAGED", (c) => c.charCodeAt(0)),
  });
  const row = { size: 7, lastAccess: 1, createdAt: 1, state: 2 };
  engine.manifest.set("a" as DepotPath, { row, version: null });
  engine.uploader.start();
  await engine.evictor.makeRoom(100);
  assert(engine.has("a"));
  await engine.settled();
  assertEquals(engine.stored("a"), "content");
  await engine.evictor.makeRoom(100);
  assert(!engine.has("a"));
});

/** A watcher that gives what the test says: records, or a failure. */
class ScriptedWatcher {
  readonly #turns: (WatchRecord[] | Error)[];
  constructor(turns: (WatchRecord[] | Error)[]) {
    this.#turns = turns;
  }
  next(): Promise<WatchRecord[]> {
    const turn = this.#turns.shift() ?? [];
    return turn instanceof Error ? Promise.reject(turn) : Promise.resolve(turn);
  }
  barrier(): void {}
  toldUntilNs(): bigint {
    return 0n;
  }
}

Deno.test("events that cannot be read are waited for, and made up for by a comparison", async () => {
  await using engine = new Engine();
  Deno.writeTextFileSync(`${engine.dir}/a`, "content");
  const record = { kind: "changed", path: "b" as DepotPath, size: 1, mtimeNs: 0n, mode: 0, id: 0 };
  const watcher = new ScriptedWatcher([new Error("ENOMEM"), [record as WatchRecord]]);
  const asked: string[] = [];
  const scanner = { requestReconcile: (reason: string) => asked.push(reason) };
  await engine.intake.run(watcher as unknown as Watcher, scanner as unknown as Scanner);
  assertEquals(asked, ["ENOMEM"]);
  assertEquals(engine.manifest.get("b")!.row.size, 1);
});

Deno.test("a comparison after lost events finds what changed, and says when it ended", async () => {
  await using engine = new Engine();
  for (let i = 0; i < 20; i++) Deno.writeTextFileSync(`${engine.dir}/f${i}`, "x");
  Deno.symlinkSync("f0", `${engine.dir}/link`);
  engine.scanner.requestReconcile("the kernel dropped events");
  assert(engine.health.isRaised("events_lost"));
  await until("it is over", () => !engine.health.isRaised("events_lost"));
  assertEquals(engine.manifest.counters.dirty, 20);
  assertEquals(engine.manifest.get("link"), null);
  const text = await engine.metricsText();
  assert(/p4cache_reconcile_files_total\{result="found"[^}]*\} 20\n/.test(text), text);
  assert(/p4cache_reconcile_files_total\{result="changed"[^}]*\} 20\n/.test(text), text);
  assert(/p4cache_reconcile_last_timestamp_seconds\{[^}]*\} 1\d{9}/.test(text), text);
});

Deno.test("a delete whose event is on its way when the comparison runs leaves its tombstone", async () => {
  await using engine = new Engine();
  engine.write("a", "content");
  engine.uploader.start();
  await engine.settled();
  await engine.manifest.commit();
  Deno.removeSync(`${engine.dir}/a`);
  engine.intake.barrier = () => {
    engine.intake.gone("a" as DepotPath);
    return Promise.resolve();
  };
  await engine.scanner.scanAll();
  assertEquals(await engine.restorer.fetch("a"), { kind: "notFound" });
});
