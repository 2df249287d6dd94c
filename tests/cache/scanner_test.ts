/**
 * What a walk saw, and what became of it before it was recorded.
 *
 * @module
 */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { packFound } from "../../ffi/found_files.ts";
import type { WalkStep } from "../../ffi/kv.ts";
import type { WalkRecord } from "../../ffi/walk.ts";
import type { Watcher, WatchRecord } from "../../ffi/watch.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Scanner } from "../../src/cache/scanner.ts";
import { Engine } from "./engine.ts";

const A = "a" as DepotPath;

/**
 * Lets the next walk see the file as it is now, and `meanwhile` happen before the step is compared.
 * @param together Whether it is told as a new file, to be recorded with others.
 */
function afterTheLook(
  engine: Engine,
  path: DepotPath,
  together: boolean,
  meanwhile: () => Promise<unknown>,
): void {
  const { size, mtimeNs, ctimeNs, mode } = engine.files.stat(path)!;
  const seen: WalkRecord = {
    kind: "file",
    path,
    size,
    mtimeNs,
    ctimeNs,
    mode,
    nlink: 1,
    errno: 0,
  };
  const steps: WalkRecord[][] = [[seen], []];
  engine.manifest.compareNext = async (): Promise<WalkStep> => {
    const told = steps.shift() ?? [];
    if (told.length > 0) await meanwhile();
    const [records, found] = together ? [[], told] : [told, []];
    return { known: 0, records, found: packFound(found), isLast: told.length === 0 };
  };
}

for (const together of [false, true]) {
  const how = together ? "recorded with others" : "recorded alone";
  Deno.test(`P3: a file that was evicted between the look of a walk and its record is not found, ${how}`, async () => {
    await using engine = new Engine();
    engine.write("a", "content");
    engine.uploader.start();
    await engine.settled();
    await engine.manifest.commit();
    afterTheLook(engine, A, together, async () => {
      assertEquals(await engine.evictor.evictOnly([A]), [null]);
      await engine.manifest.commit();
    });
    const { changed } = await engine.scanner.scanAll();
    assertEquals(changed, 0);
    assertEquals(engine.manifest.get(A), null);
    assertEquals((await engine.restorer.fetch("a")).kind, "ok");
  });

  Deno.test(`P3: a file whose going was taken in between the look of a walk and its record is not found, ${how}`, async () => {
    await using engine = new Engine();
    Deno.writeTextFileSync(`${engine.dir}/a`, "content");
    const told = Promise.withResolvers<WatchRecord[]>(),
      ended = Promise.withResolvers<WatchRecord[]>();
    const batches = [told.promise, ended.promise];
    const watcher = {
      next: () => batches.shift(),
      isQuiet: () => true,
      barrier: () => {},
      toldUntilNs: () => 0n,
    };
    const running = engine.intake.run(
      watcher as unknown as Watcher,
      engine.scanner as unknown as Scanner,
    );
    afterTheLook(engine, A, together, async () => {
      Deno.removeSync(`${engine.dir}/a`);
      // Its last event was a late close: without a record nothing is buried.
      told.resolve([{ kind: "gone", path: A, size: 0, mtimeNs: 0n, mode: 0, id: 0 }]);
      while (batches.length > 0) await new Promise((resolve) => setTimeout(resolve, 0));
    });
    const { changed } = await engine.scanner.scanAll();
    assertEquals(changed, 0);
    assertEquals(engine.manifest.get(A), null);
    ended.resolve([]);
    await running;
  });
}

Deno.test("a file of which nothing is known is found by the walk's look alone", async () => {
  await using engine = new Engine();
  Deno.writeTextFileSync(`${engine.dir}/a`, "content");
  let looks = 0;
  const sizesNow = engine.files.sizesNow.bind(engine.files);
  engine.files.sizesNow = (paths) => (looks++, sizesNow(paths));
  const { changed } = await engine.scanner.scanAll();
  assertEquals([changed, looks], [1, 0]);
  assertEquals(engine.manifest.get(A)!.row.size, "content".length);
});

Deno.test("a scan of which a step fails throws, when every other step has ended", async () => {
  await using engine = new Engine();
  engine.write("a", "content");
  const compareNext = engine.manifest.compareNext.bind(engine.manifest);
  let steps = 0, ended = 0;
  engine.manifest.compareNext = async (walk, doubt) => {
    if (++steps === 2) throw new Error("of the second step");
    await new Promise((resolve) => setTimeout(resolve, steps));
    return await compareNext(walk, doubt).finally(() => ended++);
  };
  await assertRejects(() => engine.scanner.scanAll(), Error, "of the second step");
  assertEquals(ended, steps - 1);
});
