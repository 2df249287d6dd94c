/** The comparison of a walk with the manifest. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotFiles } from "../../ffi/files.ts";
import type { Doubt, WalkStep } from "../../ffi/kv.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { CLEAN } from "../../src/manifest/schema.ts";
import { isVersion, restored, seen } from "../../src/manifest/transitions.ts";
import { withDepot } from "./manifest_of_depot.ts";

const path = (text: string) => text as DepotPath;

function pathsOf({ records, found }: WalkStep): string[] {
  return [...records, ...found.records()].map((record) => record.path);
}

/** What a comparison passes over, and what it tells. */
async function compare(
  files: DepotFiles,
  manifest: Pick<Manifest, "compareNext">,
  doubt: Doubt | null = null,
) {
  const walk = files.walk(path(""));
  const told: string[] = [];
  let known = 0;
  try {
    for (;;) {
      const step = await manifest.compareNext(walk, doubt);
      if (step.isLast) return { known, told: told.sort() };
      known += step.known;
      told.push(...pathsOf(step));
    }
  } finally {
    walk.close();
  }
}

Deno.test("a comparison passes over the files that are as their rows say, and tells all others", () =>
  withDepot(async (files, manifest) => {
    const told: string[] = [];
    let known = 0;
    Deno.mkdirSync(`${files.dir}/d`);
    const write = (name: string, isKnown: boolean) => {
      Deno.writeTextFileSync(`${files.dir}/d/${name}`, "1234567");
      Deno.chmodSync(`${files.dir}/d/${name}`, 0o640);
      if (isKnown) known++;
      else told.push(`d/${name}`);
      return { at: path(`d/${name}`), stat: files.stat(`d/${name}`)! };
    };
    // Every mixture of size, time and permissions: the rule in C is the one in transitions.ts.
    for (const size of [7, 8]) {
      for (const late of [0n, 1n]) {
        for (const mode of [0o640, 0o440, 0o4640]) {
          const name = `clean ${size} ${late} ${mode}`;
          const mtimeNs = 1_700_000_000_123_456_789n;
          const version = { size, mtimeNs, mode, digest: "sha256:aa", etag: '"e"' };
          const at = `${files.dir}/d/${name}`;
          Deno.writeTextFileSync(at, "1234567");
          Deno.chmodSync(at, 0o640);
          const ns = Number((mtimeNs + late) % 1_000_000_000n);
          const { code } = await new Deno.Command("touch", {
            args: ["-d", `@1700000000.${String(ns).padStart(9, "0")}`, at],
          }).output();
          assertEquals(code, 0);
          const stat = files.stat(`d/${name}`)!;
          if (isVersion(version, stat.size, stat.mtimeNs, stat.mode)) known++;
          else told.push(`d/${name}`);
          manifest.set(path(`d/${name}`), restored(version, 1));
        }
      }
    }
    assertEquals(known, 1);
    const unverified = { lastAccess: 1, createdAt: 1, state: CLEAN };
    manifest.set(write("unverified", true).at, { row: { ...unverified, size: 7 }, version: null });
    manifest.set(write("unverified, longer", false).at, {
      row: { ...unverified, size: 6 },
      version: null,
    });
    manifest.set(write("dirty", true).at, seen(null, 7, 1));
    manifest.set(write("dirty, longer", false).at, seen(null, 6, 1));
    write("unknown", false);
    Deno.symlinkSync("dirty", `${files.dir}/d/link`);
    told.push("d/link");
    await manifest.commit();
    assertEquals(await compare(files, manifest), { known, told: told.sort() });
  }));

Deno.test("P1: in doubt only files that did not change since, and rows begun after it, are passed over", () =>
  withDepot(async (files, manifest) => {
    for (const name of ["clean", "begun after", "dirty", "unverified"]) {
      Deno.writeTextFileSync(`${files.dir}/${name}`, "1234567");
      Deno.chmodSync(`${files.dir}/${name}`, 0o640);
    }
    const { size, mtimeNs, ctimeNs } = files.stat("clean")!;
    const version = (name: string) => {
      const { mtimeNs, mode } = files.stat(name)!;
      return { size, mtimeNs, mode: mode & 0o7777, digest: "sha256:aa", etag: '"e"' };
    };
    const row = { size, lastAccess: 1, createdAt: 1, state: CLEAN };
    manifest.set(path("clean"), restored(version("clean"), 99));
    manifest.set(path("begun after"), restored(version("begun after"), 100));
    manifest.set(path("dirty"), seen(null, size, 1));
    manifest.set(path("unverified"), { row, version: null });
    await manifest.commit();
    const told = async (fromNs: bigint) =>
      (await compare(files, manifest, { fromNs, untilSeconds: 100 })).told;
    assertEquals(await told(mtimeNs - 1_000_000_000n), ["clean", "unverified"]);
    assertEquals((await told(ctimeNs)).includes("clean"), true);
    assertEquals((await told(ctimeNs + 1n)).includes("clean"), false);
    assertEquals(await told(ctimeNs + 1_000_000_000n), []);
  }));

Deno.test("a comparison of more files than one step holds tells each once, in order of their paths", () =>
  withDepot(async (files, manifest) => {
    for (let i = 0; i < 3000; i++) {
      Deno.writeTextFileSync(`${files.dir}/${"n".repeat(60)}${i}`, "");
      if (i % 2 === 0) manifest.set(path(`${"n".repeat(60)}${i}`), seen(null, 0, 1));
    }
    await manifest.commit();
    const walk = files.walk(path(""));
    const all: string[] = [];
    for (;;) {
      const step = await manifest.compareNext(walk);
      if (step.isLast) break;
      const paths = pathsOf(step);
      assertEquals(paths, [...paths].sort());
      all.push(...paths);
    }
    walk.close();
    assertEquals(all.length, 1500);
    assertEquals(new Set(all).size, 1500);
  }));

Deno.test("steps of one walk that are taken at the same time tell each file once, and end together", () =>
  withDepot(async (files, manifest) => {
    const written: string[] = [];
    for (let d = 0; d < 40; d++) {
      // Some below others: a step without a directory waits for those that others find.
      const dir = d % 4 === 0 ? `${d}` : `${d - d % 4}/${"d".repeat(d % 4)}`;
      Deno.mkdirSync(`${files.dir}/${dir}`);
      for (let i = 0; i < 200; i++) {
        const name = `${dir}/${"n".repeat(i)}`;
        if (i > 0) written.push(name);
        if (i > 0) Deno.writeTextFileSync(`${files.dir}/${name}`, "");
      }
    }
    const walk = files.walk(path(""));
    const all: string[] = [];
    const steps: number[] = [];
    const read = async (reader: number) => {
      for (;;) {
        const step = await manifest.compareNext(walk);
        if (step.isLast) return;
        steps.push(reader);
        all.push(...pathsOf(step));
      }
    };
    await Promise.all([read(0), read(1), read(2)]);
    walk.close();
    assertEquals(all.sort(), written.sort());
    assert(new Set(steps).size > 1, "one reader had the whole walk");
  }));

Deno.test("a path is new when there is neither row nor tombstone, nor a change on its way", () =>
  withDepot(async (_, manifest) => {
    const deleted = { deletedAtSeconds: 1, collected: false };
    manifest.set(path("row"), seen(null, 1, 1));
    manifest.set(path("dropped"), seen(null, 1, 1));
    manifest.setTombstone(path("tombstone"), deleted);
    await manifest.commit();
    manifest.set(path("staged row"), seen(null, 1, 1));
    manifest.set(path("dropped"), null);
    manifest.setTombstone(path("staged tombstone"), deleted);
    const paths = ["row", "dropped", "tombstone", "staged row", "staged tombstone", "new"].map(
      path,
    );
    assertEquals(manifest.areNew(paths), [false, false, false, false, false, true]);
    await manifest.commit();
    assertEquals(manifest.areNew(paths), [false, true, false, false, false, true]);
    manifest.add(path("new"), seen(null, 5, 1));
    assertEquals(manifest.get("new")?.row.size, 5);
    assertEquals(manifest.counters, { total: 3, dirty: 3, bytes: 7, dirtyBytes: 7 });
  }));
