/**
 * What an old manifest may say of deletions and renames: a living file is never called absent.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { prepareManifest, type RestoreReport } from "../../src/backup/restore_manifest.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { RestoredMark } from "../../src/manifest/restored_mark.ts";
import { Engine } from "../cache/engine.ts";

const never = new AbortController().signal;
const NOW_MS = Date.now();

function prepare(engine: Engine, isDry = false): Promise<RestoreReport> {
  const { files, manifest, primary } = engine;
  const isExcluded = (path: string) => path.startsWith(".p4cache");
  const onProgress = () => {};
  return prepareManifest(
    { files, manifest, primary, isExcluded, trashNames: [], madeAtMs: NOW_MS, onProgress },
    isDry,
    never,
  );
}

/** An object that the provider says was stored so long before now; null: it does not say. */
function object(engine: Engine, name: string, agoMs: number | null): void {
  const info = { size: 1, etag: "1", mtimeNs: null, mode: null, digest: null };
  const time = agoMs === null ? {} : { storedMs: NOW_MS - agoMs };
  engine.primary.objects.set(name, { info: { ...info, ...time }, bytes: new Uint8Array(1) });
}

Deno.test("4: a deletion counts only where no object can be of a file written since", async () => {
  await using engine = new Engine();
  const HOUR_MS = 3_600_000;
  object(engine, "older", 2 * HOUR_MS);
  object(engine, "newer", 0);
  object(engine, "about_then", HOUR_MS + 60_000);
  object(engine, "unknown", null);
  const names = ["absent", "older", "newer", "about_then", "unknown"] as DepotPath[];
  const deletedAtSeconds = Math.floor((NOW_MS - HOUR_MS) / 1000);
  for (const name of names) {
    engine.manifest.setTombstone(name, { deletedAtSeconds, collected: false });
  }
  const dry = await prepare(engine, true);
  assertEquals([dry.tombstonesKept, dry.tombstonesDropped], [2, 3]);
  assertEquals(names.every((name) => engine.manifest.isTombstoned(name)), true);
  await prepare(engine);
  assertEquals(names.filter((name) => engine.manifest.isTombstoned(name)), ["absent", "older"]);
});

Deno.test("6: a pending rename is forgotten only where its old name is taken again", async () => {
  await using engine = new Engine();
  for (const dir of ["to", "other_to", "other_from"]) Deno.mkdirSync(`${engine.dir}/${dir}`);
  await engine.renames.begin("from" as DepotPath, "to" as DepotPath);
  await engine.renames.begin("other_from" as DepotPath, "other_to" as DepotPath);
  await engine.manifest.commit();
  const report = await prepare(engine);
  assertEquals(report.ambiguous, ["other_from"]);
  await engine.manifest.commit();
  const next = engine.newRenames();
  await next.load();
  assertEquals([next.isAway("from/x"), next.isAway("other_from/x")], [true, false]);
  await next.stop();
});

Deno.test("1 and 7: the manifest is marked, knows no trash, and gives no name in it twice", async () => {
  await using engine = new Engine();
  engine.write("file", "content");
  const before = engine.manifest.trash.add("file" as DepotPath);
  await engine.manifest.commit();
  const report = await prepare(engine);
  assertEquals([report.known, report.changed, report.missing], [0, 1, 0]);
  await engine.manifest.commit();
  assertEquals((await engine.manifest.trash.all()).size, 0);
  assertEquals(engine.manifest.trash.add("file" as DepotPath) > before + 1_000_000, true);
  const since = new RestoredMark(engine.manifest).sinceSeconds!;
  assertEquals(since < NOW_MS / 1000 && since > NOW_MS / 1000 - 120, true);
});
