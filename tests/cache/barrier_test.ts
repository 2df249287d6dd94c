/**
 * When the intake waits for the watcher, and when it need not.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { Watcher, WatchRecord } from "../../ffi/watch.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Scanner } from "../../src/cache/scanner.ts";
import type { FetchAnswer } from "../../src/server/shim_server.ts";
import { Engine } from "./engine.ts";

const NOTHING = { path: "" as DepotPath, size: 0, mtimeNs: 0n, mode: 0, id: 0 };

/** A watcher whose records the test hands out. */
class HeldWatcher {
  isQuietNow = false;
  readonly barriers: number[] = [];
  #told = Promise.withResolvers<WatchRecord[]>();

  async next(): Promise<WatchRecord[]> {
    const records = await this.#told.promise;
    this.#told = Promise.withResolvers();
    return records;
  }
  tell(...records: WatchRecord[]): void {
    this.#told.resolve(records);
  }
  isQuiet(): boolean {
    return this.isQuietNow;
  }
  toldUntilNs(): bigint {
    return 0n;
  }
  barrier(id: number): void {
    this.barriers.push(id);
  }
}

async function withIntake(
  test: (engine: Engine, watcher: HeldWatcher) => Promise<void>,
): Promise<void> {
  await using engine = new Engine();
  const watcher = new HeldWatcher();
  const running = engine.intake.run(watcher as unknown as Watcher, engine.scanner as Scanner);
  await test(engine, watcher);
  watcher.tell();
  await running;
}

Deno.test("a barrier asks nobody when the watcher is quiet", () =>
  withIntake(async ({ intake }, watcher) => {
    watcher.isQuietNow = true;
    await intake.barrier();
    assertEquals(watcher.barriers, []);
  }));

Deno.test("a barrier waits for records that are told and not yet taken in", () =>
  withIntake(async (engine, watcher) => {
    const { intake, manifest } = engine;
    let isPassed = false;
    const passed = intake.barrier().then(() => isPassed = true);
    await turns();
    watcher.tell({ ...NOTHING, kind: "changed", path: "a" as DepotPath, size: 1 });
    await turns();
    assert(!isPassed);
    assertEquals(manifest.get("a" as DepotPath)!.row.size, 1);
    watcher.tell({ ...NOTHING, kind: "barrier", id: watcher.barriers[0]! });
    await passed;
  }));

/** Asks for the file; the answer, null until it is given, when the storage has answered. */
async function askStorage(
  engine: Engine,
  path: DepotPath,
): Promise<{ answer: FetchAnswer | null }> {
  const asked: { answer: FetchAnswer | null } = { answer: null };
  const before = engine.primary.calls.length;
  void engine.restorer.fetch(path).then((answer) => asked.answer = answer);
  for (let i = 0; i < 20; i++) await turns();
  assert(engine.primary.calls.length > before, "the storage was not asked beside the barrier");
  assertEquals(asked.answer, null, "an answer was given before what had happened was known");
  return asked;
}

Deno.test("P3: a file whose delete is on its way is not brought back, though the storage has it", () =>
  withIntake(async (engine, watcher) => {
    const path = "a" as DepotPath;
    engine.write(path, "content");
    engine.uploader.start();
    await engine.settled();
    assertEquals(engine.stored(path), "content");
    Deno.removeSync(`${engine.dir}/${path}`);
    const asked = await askStorage(engine, path);
    watcher.tell({ ...NOTHING, kind: "gone", path, size: 1 });
    await turns();
    watcher.tell({ ...NOTHING, kind: "barrier", id: watcher.barriers.at(-1)! });
    await until(() => asked.answer !== null);
    assertEquals(asked.answer, { kind: "notFound" });
    assert(!engine.has(path));
  }));

Deno.test("P3: a file that is made while the storage says that it has none is found", () =>
  withIntake(async (engine, watcher) => {
    const path = "a" as DepotPath;
    const asked = await askStorage(engine, path);
    Deno.writeTextFileSync(`${engine.dir}/${path}`, "new");
    watcher.tell({ ...NOTHING, kind: "changed", path, size: 3 });
    await turns();
    watcher.tell({ ...NOTHING, kind: "barrier", id: watcher.barriers.at(-1)! });
    await until(() => asked.answer !== null);
    assertEquals(asked.answer, { kind: "ok", size: 3 });
  }));

Deno.test("P3: what was not found is looked for again for those who asked later", () =>
  withIntake(async (engine, watcher) => {
    const path = "a" as DepotPath;
    engine.write("b", "content");
    engine.uploader.start();
    await engine.settled();
    const asked = await askStorage(engine, path);
    // As after a rename, or after it was written, stored and evicted.
    await engine.primary.copy("b" as DepotPath, path, new AbortController().signal);
    const later = Array.from({ length: 3 }, () => engine.restorer.fetch(path));
    const calls = engine.primary.calls.length;
    watcher.isQuietNow = true;
    watcher.tell({ ...NOTHING, kind: "barrier", id: watcher.barriers.at(-1)! });
    const answers = await Promise.all(later);
    assertEquals(asked.answer, { kind: "notFound" });
    assertEquals(answers.map(({ kind }) => kind), ["ok", "ok", "ok"]);
    assertEquals(engine.primary.calls.length, calls + 1, "they are answered together");
  }));

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turns();
}

/** Lets everything run that waits for nothing. */
function turns(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
