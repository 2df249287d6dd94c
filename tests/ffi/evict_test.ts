/** P1: the kernel's side of eviction, file by file. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { type EvictionBatch, type EvictionCandidate, Evictions } from "../../ffi/evict.ts";
import { DepotFiles } from "../../ffi/files.ts";

interface Depot {
  readonly dir: string;
  readonly files: DepotFiles;
  write(name: string, content: string): void;
  candidate(name: string, trashId: number): EvictionCandidate;
  begin(candidates: readonly EvictionCandidate[]): Promise<EvictionBatch>;
}

async function withDepot(test: (depot: Depot) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "evict" });
  Deno.mkdirSync(`${dir}/trash`);
  const files = new DepotFiles(dir), evictions = new Evictions(files.root);
  try {
    await test({
      dir,
      files,
      write: (name, content) => Deno.writeTextFileSync(`${dir}/${name}`, content),
      candidate: (name, trashId) => {
        const { size, mtimeNs, mode } = files.stat(name)!;
        return { path: name, trashId, size, mtimeNs, mode, doubtedFromNs: null, directory: null };
      },
      begin: (candidates) => evictions.begin("trash", candidates),
    });
  } finally {
    evictions.close();
    files.close();
    Deno.removeSync(dir, { recursive: true });
  }
}

const exists = (path: string) => {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
};

Deno.test("a cold file goes to the trash, and is gone when it is let go", () =>
  withDepot(async ({ dir, write, candidate, begin }) => {
    write("a", "cold");
    const batch = await begin([candidate("a", 1)]);
    assertEquals(batch.outcomes, ["taken"]);
    assertEquals(exists(`${dir}/a`), false);
    assertEquals(exists(`${dir}/trash/1`), true);
    assertEquals(await batch.check(), ["taken"]);
    assertEquals(await batch.finish([true]), ["taken"]);
    assertEquals(exists(`${dir}/trash/1`), false);
  }));

Deno.test("a file that is open, hard-linked, changed or gone is never taken", () =>
  withDepot(async ({ dir, write, candidate, begin }) => {
    for (const name of ["open", "linked", "changed", "gone"]) write(name, name);
    const candidates = ["open", "linked", "changed", "gone"].map((n, i) => candidate(n, i + 1));
    using _held = Deno.openSync(`${dir}/open`, { read: true });
    Deno.linkSync(`${dir}/linked`, `${dir}/other`);
    write("changed", "changed!");
    Deno.removeSync(`${dir}/gone`);
    const batch = await begin(candidates);
    assertEquals(batch.outcomes, ["in_use", "linked", "changed", "gone"]);
    await batch.finish([true, true, true, true]);
    for (const name of ["open", "linked"]) {
      assertEquals(Deno.readTextFileSync(`${dir}/${name}`), name);
    }
    assertEquals([...Deno.readDirSync(`${dir}/trash`)], []);
  }));

Deno.test("a file of which something changed since the doubt stays, whatever it looks like", () =>
  withDepot(async ({ files, write, candidate, begin }) => {
    for (const name of ["at", "before"]) write(name, name);
    const { ctimeNs } = files.stat("at")!;
    const batch = await begin([
      { ...candidate("at", 1), doubtedFromNs: ctimeNs },
      { ...candidate("before", 2), doubtedFromNs: files.stat("before")!.ctimeNs + 1n },
    ]);
    assertEquals(batch.outcomes, ["doubtful", "taken"]);
    assertEquals(await batch.finish([true, true]), ["doubtful", "taken"]);
    assertEquals([files.stat("at") !== null, files.stat("before") !== null], [true, false]);
  }));

Deno.test("a file whose mode changed, before or during its eviction, stays", () =>
  withDepot(async ({ dir, files, write, candidate, begin }) => {
    for (const name of ["before", "during"]) write(name, name);
    const candidates = ["before", "during"].map((n, i) => candidate(n, i + 1));
    Deno.chmodSync(`${dir}/before`, 0o444);
    const batch = await begin(candidates);
    assertEquals(batch.outcomes, ["changed", "taken"]);
    // The trash name stands for a path that was looked up before the rename.
    Deno.chmodSync(`${dir}/trash/2`, 0o444);
    assertEquals(await batch.check(), ["changed", "changed"]);
    await batch.finish([false, false]);
    for (const name of ["before", "during"]) {
      assertEquals(files.stat(name)!.mode & 0o7777, 0o444);
    }
  }));

Deno.test("a file put back is where it was, with its bytes", () =>
  withDepot(async ({ dir, write, candidate, begin }) => {
    write("a", "kept");
    const batch = await begin([candidate("a", 1)]);
    await batch.finish([false]);
    assertEquals(Deno.readTextFileSync(`${dir}/a`), "kept");
  }));

Deno.test("a file whose directory is renamed meanwhile goes back into that directory", () =>
  withDepot(async ({ dir, files, write, candidate, begin }) => {
    Deno.mkdirSync(`${dir}/d`);
    write("d/a", "kept");
    const batch = await begin([candidate("d/a", 1)]);
    Deno.renameSync(`${dir}/d`, `${dir}/e`);
    Deno.mkdirSync(`${dir}/d`);
    assertEquals(await batch.finish([false]), ["in_use"]);
    assertEquals(Deno.readTextFileSync(`${dir}/e/a`), "kept");
    assertEquals(files.stat("d/a"), null);
  }));

Deno.test("a file is taken from the directory that is meant, not from another one at its path", () =>
  withDepot(async ({ dir, files, write, candidate, begin }) => {
    for (const name of ["d", "other"]) {
      Deno.mkdirSync(`${dir}/${name}`);
      write(`${name}/a`, "alike");
      write(`${name}/b`, "alike");
    }
    const [there, other] = ["d", "other"].map((name) => files.identity(name));
    const batch = await begin([
      { ...candidate("d/a", 1), directory: other! },
      { ...candidate("d/b", 2), directory: other! },
      { ...candidate("d/a", 3), directory: there! },
      { ...candidate("d/b", 4), directory: there! },
      { ...candidate("other/a", 5), directory: other! },
    ]);
    assertEquals(batch.outcomes, ["gone", "gone", "taken", "taken", "taken"]);
    await batch.finish([true, true, true, false, true]);
    const left = ["d/a", "d/b", "other/a", "other/b"].filter((name) => exists(`${dir}/${name}`));
    assertEquals(left, ["d/b", "other/b"]);
  }));

Deno.test("a file written anew at the path is never overwritten by putting back", () =>
  withDepot(async ({ dir, write, candidate, begin }) => {
    write("a", "old");
    const batch = await begin([candidate("a", 1)]);
    write("a", "newer");
    assertEquals(await batch.finish([false]), ["conflict"]);
    assertEquals(Deno.readTextFileSync(`${dir}/a`), "newer");
    assertEquals(Deno.readTextFileSync(`${dir}/trash/1`), "old");
  }));

Deno.test("an opener that arrives after the lease breaks it, and finds its file back", () =>
  withDepot(async ({ dir, write, candidate, begin }) => {
    write("a", "base");
    const batch = await begin([candidate("a", 1)]);
    // The trash name stands for a path that was looked up before the rename.
    const opener = new Deno.Command("sh", { args: ["-c", `echo more >> ${dir}/trash/1`] }).spawn();
    while ((await batch.check())[0] === "taken") await new Promise((r) => setTimeout(r, 1));
    assertEquals(batch.outcomes, ["in_use"]);
    // Even when the caller had decided before it looked.
    assertEquals(await batch.finish([true]), ["in_use"]);
    assertEquals((await opener.status).success, true);
    assertEquals(Deno.readTextFileSync(`${dir}/a`), "basemore\n");
  }));
