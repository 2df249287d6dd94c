/** New files of a walk that are recorded together: what is written, and when not. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import type { DepotFiles } from "../../ffi/files.ts";
import { FoundFiles, packFound } from "../../ffi/found_files.ts";
import type { WalkRecord } from "../../ffi/walk.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { DIRTY, encodeRow } from "../../src/manifest/schema.ts";
import { seen } from "../../src/manifest/transitions.ts";
import { withDepot } from "./manifest_of_depot.ts";

const path = (text: string) => text as DepotPath;
const DELETED = { deletedAtSeconds: 1, collected: false };

function record(name: string, size = 1): WalkRecord {
  const times = { mtimeNs: -5n, ctimeNs: 7n };
  return { kind: "file", path: path(name), size, ...times, mode: 0o100644, nlink: 1, errno: 0 };
}

/** One step over the whole depot. */
async function step(files: DepotFiles, manifest: Manifest) {
  const walk = files.walk(path(""));
  try {
    const since = manifest.watch();
    return { ...await manifest.compareNext(walk), since };
  } finally {
    walk.close();
  }
}

Deno.test("M1: files that are found together have the rows and the places of files found one by one", () =>
  withDepot(async (files, manifest) => {
    Deno.mkdirSync(`${files.dir}/d/e`, { recursive: true });
    for (const [i, name] of ["d/b", "d/a", "d/e/\xc3\xbc", "d/a.txt"].entries()) {
      const bytes = Uint8Array.from(name, (c) => c.charCodeAt(0));
      Deno.writeTextFileSync(`${files.dir}/${new TextDecoder().decode(bytes)}`, "x".repeat(i));
    }
    const { found, since, records } = await step(files, manifest);
    assertEquals(records.length, 0);
    assert(manifest.addFound(found, since, 100));
    since.end();
    const check = () => {
      assertEquals(manifest.counters, { total: 4, dirty: 4, bytes: 6, dirtyBytes: 6 });
      for (const [name, size] of [["d/b", 0], ["d/a", 1], ["d/e/\xc3\xbc", 2], ["d/a.txt", 3]]) {
        assertEquals(manifest.get(`${name}`), seen(null, Number(size), 100));
      }
      assertEquals(manifest.get("d/aa"), null);
      assertEquals(manifest.areNew([path("d/a"), path("d/aa")]), [false, true]);
    };
    check(); // before it is durable
    await manifest.commit();
    check();
    const rows: [string, Uint8Array][] = [];
    for await (const { path, value } of manifest.rows()) rows.push([path, value]);
    const row = (name: string, size: number): [string, Uint8Array] => [
      name,
      encodeRow(seen(null, size, 100).row, "pfx/" + name),
    ];
    assertEquals(rows, [row("d/a", 1), row("d/a.txt", 3), row("d/b", 0), row("d/e/\xc3\xbc", 2)]);
    const queue = (await manifest.dirtyAfter("")).map(({ path, seconds }) => [path, seconds]);
    assertEquals(queue, rows.map(([path]) => [path, 100]));
  }, "pfx/"));

Deno.test("M1: a file that was found together with others, and changes before that is durable, has one place in the queue", () =>
  withDepot(async (_, manifest) => {
    const found = packFound([record("d/a", 4), record("d/b", 5), record("d/c", 6)]);
    const since = manifest.watch();
    assert(manifest.addFound(found, since, 100));
    since.end();
    manifest.set(path("d/a"), seen(manifest.get("d/a"), 9, 200));
    manifest.set(path("d/b"), null);
    assertEquals(manifest.get("d/a")?.row, {
      size: 9,
      lastAccess: 100,
      createdAt: 100,
      state: DIRTY,
    });
    assertEquals(manifest.get("d/b"), null);
    await manifest.commit();
    assertEquals((await manifest.dirtyAfter("")).map(({ path }) => path), ["d/a", "d/c"].map(path));
    assertEquals(manifest.get("d/b"), null);
    assertEquals(manifest.counters, { total: 2, dirty: 2, bytes: 15, dirtyBytes: 15 });
  }));

Deno.test("M1, M4: nothing is recorded together when a row or a tombstone of one of them is on its way, or came since", () =>
  withDepot(async (_, manifest) => {
    const found = packFound([record("d/a"), record("d/b"), record("d/c")]);
    const changes: Record<string, () => unknown> = {
      "a row": () => manifest.set(path("d/b"), seen(null, 1, 1)),
      "a tombstone": () => manifest.setTombstone(path("d/b"), DELETED),
      "found by another walk": () => {
        const others = manifest.watch();
        assert(manifest.addFound(packFound([record("d/aa"), record("d/b")]), others, 1));
        others.end();
      },
    };
    for (const [name, change] of Object.entries(changes)) {
      for (const order of ["before", "since", "since, and durable"]) {
        if (order === "before") change();
        const since = manifest.watch();
        if (order !== "before") change();
        if (order === "since, and durable") await manifest.commit();
        assertEquals(manifest.addFound(found, since, 2), false, `${name}, ${order}`);
        since.end();
        for (const one of ["d/aa", "d/b"]) {
          manifest.set(path(one), null);
          manifest.setTombstone(path(one), null);
        }
        await manifest.commit();
      }
    }
    const since = manifest.watch();
    manifest.set(path("d/bb"), seen(null, 1, 1));
    assert(manifest.addFound(found, since, 2));
    since.end();
  }));

Deno.test("new files are told one by one where a rule may exclude them, or a tombstone is there", () =>
  withDepot(async (files, manifest) => {
    const alone = ["top", "server.locks/x", "d/tmp.1.2.3", ".p4cache-probe/x", "d/deleted"];
    for (const name of [...alone, "d/new", "d/server.locks"]) {
      Deno.mkdirSync(`${files.dir}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
      Deno.writeTextFileSync(`${files.dir}/${name}`, "");
    }
    manifest.setTombstone(path("d/deleted"), DELETED);
    await manifest.commit();
    const { found, records, since } = await step(files, manifest);
    since.end();
    assertEquals(found.records().map(({ path }) => path as string), ["d/new", "d/server.locks"]);
    assertEquals(records.map(({ path }) => path as string), alone.toSorted());
  }));

Deno.test("found files are looked up by their paths, and two steps share a path or do not", () => {
  const names = Array.from({ length: 300 }, (_, i) => `d${i % 7}/${"n".repeat(i % 5)}\xff${i}`);
  const pack = (chosen: string[]) =>
    packFound(chosen.toSorted().map((name) => record(name, name.length)));
  const even = pack(names.filter((_, i) => i % 2 === 0));
  const odd = pack(names.filter((_, i) => i % 2 === 1));
  for (const [i, name] of names.entries()) {
    assertEquals(even.sizeOf(name), i % 2 === 0 ? name.length : null);
    assertEquals(odd.sharesPath(pack([name])), i % 2 === 1);
    assertEquals(pack([name]).sharesPath(odd), i % 2 === 1);
  }
  assertEquals([even.sharesPath(odd), even.sharesPath(even)], [false, true]);
  const none = new FoundFiles(new Uint8Array(0));
  assertEquals([none.sizeOf("a"), none.sharesPath(even), even.sharesPath(none)], [
    null,
    false,
    false,
  ]);
  assertEquals(even.records().map((record) => record.mtimeNs).every((ns) => ns === -5n), true);
});
