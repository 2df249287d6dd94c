/** Walks over a depot. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { DepotFiles } from "../../ffi/files.ts";
import { DepotWalk, type WalkRecord } from "../../ffi/walk.ts";
import type { DepotPath } from "../../src/depot_path.ts";

async function walk(dir: string, start = ""): Promise<WalkRecord[]> {
  const files = new DepotFiles(dir);
  const walk = DepotWalk.open(files.root, start as DepotPath);
  const found: WalkRecord[] = [];
  try {
    for (;;) {
      const records = await walk.next();
      if (records === null) return found;
      found.push(...records);
    }
  } finally {
    walk.close();
    files.close();
  }
}

Deno.test("a walk finds every file, follows no link, and leaves the state directory out", async () => {
  const dir = Deno.makeTempDirSync({ prefix: "walk" });
  try {
    for (const d of ["a/b", ".p4cache/manifest", "a/.p4cache"]) {
      Deno.mkdirSync(`${dir}/${d}`, { recursive: true });
    }
    const names = ["top", "a/x,v", "a/b/y", ".p4cache/manifest/data.mdb", "a/.p4cache/z"];
    for (const name of names) Deno.writeTextFileSync(`${dir}/${name}`, name);
    Deno.symlinkSync("/etc", `${dir}/a/link`);
    const found = await walk(dir);
    const ofKind = (kind: string) => found.filter((r) => r.kind === kind).map((r) => r.path).sort();
    assertEquals(ofKind("file"), ["a/.p4cache/z", "a/b/y", "a/x,v", "top"]);
    assertEquals(ofKind("other"), ["a/link"]);
    assertEquals(ofKind("problem"), []);
    assertEquals(found.find((r) => r.path === "a/x,v")!.size, 5);
    assertEquals((await walk(dir, "a/b")).map((r) => r.path as string), ["a/b/y"]);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("a walk of more files than one buffer holds tells each once", async () => {
  const dir = Deno.makeTempDirSync({ prefix: "walk" });
  try {
    for (let d = 0; d < 20; d++) {
      Deno.mkdirSync(`${dir}/${d}`);
      for (let i = 0; i < 500; i++) {
        Deno.writeTextFileSync(`${dir}/${d}/${"n".repeat(100)}${i}`, "");
      }
    }
    const found = (await walk(dir)).map((r) => r.path as string);
    assertEquals(found.length, 10_000);
    assertEquals(new Set(found).size, 10_000);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
