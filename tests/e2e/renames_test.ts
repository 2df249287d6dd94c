/**
 * Deletes and directory renames through the compiled daemon, as p4d's machine does them.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const ignore = !mayWatch();
if (ignore) console.log("rename and delete tests are skipped: they need CAP_SYS_ADMIN");

/** A daemon that keeps next to nothing on disk, and the directory it stores in. */
async function startSmall(dir: string, config: object = {}): Promise<DaemonProcess> {
  Deno.mkdirSync(`${dir}/store`, { recursive: true });
  Deno.mkdirSync(`${dir}/depot`, { recursive: true });
  Deno.writeTextFileSync(`${dir}/config.json`, JSON.stringify(config));
  return await DaemonProcess.start(`${dir}/depot`, [
    ...["--config", `${dir}/config.json`, "--primary-type", "nfs"],
    ...["--primary-path", `${dir}/store`],
    ...["--max-cache-bytes", "200000", "--low-watermark-bytes", "100000"],
  ]);
}

const text = (bytes: Uint8Array | undefined) => new TextDecoder().decode(bytes);

Deno.test({
  name: "after mv of a directory every file, evicted ones too, is readable under its new name",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    await using daemon = await startSmall(dir.path);
    const depot = daemon.depot, store = `${dir.path}/store`;
    Deno.mkdirSync(`${depot}/old/sub`, { recursive: true });
    const content = (i: number) => `content of ${i} `.repeat(100);
    const names = Array.from({ length: 200 }, (_, i) => (i % 2 ? "sub/" : "") + `f${i}`);
    for (const [i, name] of names.entries()) {
      Deno.writeTextFileSync(`${depot}/old/${name}`, content(i));
    }
    await until("some are evicted", () => filesBelow(depot).size < 150);
    await until("the others are stored", () => filesBelow(store).size === 200);
    assertEquals((await run("mv", ["old", "new"], { cwd: depot })).code, 0);
    for (const [i, name] of names.entries()) {
      const local = await readOrFetch(daemon, `new/${name}`);
      assertEquals(local, content(i));
      assertEquals(await daemon.fetch(`old/${name}`), "NOTFOUND");
    }
    await until("all are stored under their new names", () => {
      const stored = filesBelow(store);
      return names.every((name, i) => text(stored.get(`new/${name}`)) === content(i));
    });
    assertEquals(await daemon.stop(), 0);
  },
});

Deno.test({
  name: "after mv of a directory while the daemon was down, its evicted files are readable too",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`;
    {
      await using daemon = await startSmall(dir.path);
      Deno.mkdirSync(`${depot}/old/sub`, { recursive: true });
      for (let i = 0; i < 60; i++) {
        Deno.writeTextFileSync(`${depot}/old/sub/f${i}`, `${i} `.repeat(2000));
      }
      await until("some are evicted", () => filesBelow(depot).size < 40);
      await daemon.kill();
    }
    const evicted = Array.from({ length: 60 }, (_, i) => i)
      .filter((i) => !filesBelow(depot).has(`old/sub/f${i}`));
    await run("mv", ["old", "new"], { cwd: depot });
    await using daemon = await startSmall(dir.path);
    for (const i of evicted) {
      assertEquals(await readOrFetch(daemon, `new/sub/f${i}`), `${i} `.repeat(2000));
      assertEquals(await daemon.fetch(`old/sub/f${i}`), "NOTFOUND");
    }
    assert(evicted.length > 0);
    assertEquals(await daemon.stop(), 0);
  },
});

for (const isKilled of [false, true]) {
  Deno.test({
    name:
      "P3: a chain of renames while the storage is away keeps evicted files, with new ones at " +
      `every old name${isKilled ? ", and a crash in the middle" : ""}`,
    ignore,
    fn: async () => {
      using dir = new TempDir();
      const first = await startSmall(dir.path);
      await using _ = first;
      const depot = first.depot, store = `${dir.path}/store`;
      const names = Array.from({ length: 60 }, (_, i) => (i % 2 ? "sub/" : "") + `f${i}`);
      const evicted = () => names.filter((name) => !filesBelow(depot).has(`a/${name}`));
      Deno.mkdirSync(`${depot}/a/sub`, { recursive: true });
      for (const name of names) Deno.writeTextFileSync(`${depot}/a/${name}`, name.repeat(1000));
      await until("all are stored", () => filesBelow(store).size === names.length);
      await until("some are evicted", () => evicted().length > 10);
      const cold = evicted();

      Deno.renameSync(store, `${store}.away`);
      const write = (parent: string) => {
        Deno.mkdirSync(`${depot}/${parent}/sub`, { recursive: true });
        for (const name of cold) Deno.writeTextFileSync(`${depot}/${parent}/${name}`, parent);
      };
      await run("mv", ["a", "b"], { cwd: depot });
      write("a");
      await until("it waits", () => first.log().includes("Cannot carry out a directory rename"));
      await run("mv", ["b", "c"], { cwd: depot });
      write("b");
      await run("mv", ["c", "d"], { cwd: depot });
      write("c");
      await until("new files are dirty", async () => await dirty(depot) >= 3 * cold.length);
      if (isKilled) await first.kill();
      Deno.renameSync(`${store}.away`, store);
      const daemon = isKilled ? await startSmall(dir.path) : first;
      await using __ = daemon;
      const isServed = async () => (await daemon.fetch(`d/${cold[0]}`)).startsWith("OK ");
      await until("the storage is used again", isServed);
      for (const name of cold) {
        assertEquals(await readOrFetch(daemon, `d/${name}`), name.repeat(1000));
      }
      await until("all is uploaded", async () => await dirty(depot) === 0);
      for (const name of names) {
        assertEquals(await readOrFetch(daemon, `d/${name}`), name.repeat(1000));
      }
      for (const parent of ["a", "b", "c"]) {
        for (const name of cold) {
          assertEquals(await readOrFetch(daemon, `${parent}/${name}`), parent);
        }
      }
      assertEquals(await daemon.stop(), 0);
    },
  });
}

async function dirty(depot: string): Promise<number> {
  const { stdout } = await run(BINARY, ["status", "--json", "--depot-path", depot]);
  return JSON.parse(stdout).files.dirty;
}

/** The file may be evicted again between the answer and the read. */
async function readOrFetch(daemon: DaemonProcess, name: string): Promise<string> {
  for (;;) {
    const answer = await daemon.fetch(name);
    assert(answer.startsWith("OK "), `${name}: ${answer}`);
    try {
      return Deno.readTextFileSync(`${daemon.depot}/${name}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

Deno.test({
  name: "with delete_policy tombstone a deleted file's object goes, with keep it stays",
  ignore,
  fn: async () => {
    for (const policy of ["tombstone", "keep"]) {
      using dir = new TempDir();
      const config = { delete_policy: policy, delete_grace: 0 };
      await using daemon = await startSmall(dir.path, config);
      for (const name of ["a", "b"]) Deno.writeTextFileSync(`${daemon.depot}/${name}`, name);
      const stored = () => [...filesBelow(`${dir.path}/store`).keys()].sort();
      await until("both are stored", () => stored().length === 2);
      await run("rm", ["a"], { cwd: daemon.depot });
      assertEquals(await daemon.fetch("a"), "NOTFOUND");
      if (policy === "tombstone") {
        await until("its object is removed", () => stored().length === 1);
      } else {
        await new Promise((resolve) => setTimeout(resolve, 2500));
        assertEquals(stored(), ["a", "b"]);
      }
      assertEquals(stored().at(-1), "b");
      assertEquals(await daemon.fetch("a"), "NOTFOUND");
      assertEquals(await daemon.stop(), 0);
    }
  },
});

Deno.test({
  name: "gc lists what is due and removes it; pins keep files from eviction",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    // So long that no round comes by itself.
    await using daemon = await startSmall(dir.path, { delete_policy: "tombstone" });
    const depot = daemon.depot, store = `${dir.path}/store`;
    const p4cache = (...args: string[]) => run(BINARY, args, { env: { P4CACHE_DEPOT: depot } });
    Deno.mkdirSync(`${depot}/keep`);
    const names = ["keep/a", ...Array.from({ length: 40 }, (_, i) => `f${i}`)];
    assertEquals((await p4cache("pin", "keep", "f39")).stdout, "keep/ is pinned\nf39 is pinned\n");
    for (const name of names) Deno.writeTextFileSync(`${depot}/${name}`, "x".repeat(10_000));
    await until("some are evicted", () => filesBelow(depot).size < 15);
    assert(["keep/a", "f39"].every((name) => filesBelow(depot).has(name)));
    assertEquals((await p4cache("pins")).stdout, "f39\nkeep/\n");
    assertEquals((await p4cache("unpin", "keep")).stdout, "keep/ is no longer pinned\n");
    const none = await p4cache("unpin", "none", "--json");
    assertEquals([none.code, none.stdout], [1, '{"pins":[],"unknown":["none"]}\n']);

    await run("rm", ["f39"], { cwd: depot });
    assertEquals(await daemon.fetch("f39"), "NOTFOUND");
    assertEquals((await p4cache("gc", "--dry-run")).stdout, "0 objects are due\n");
    assertEquals(await daemon.stop(), 0);

    await using second = await startSmall(dir.path, {
      delete_policy: "tombstone",
      delete_grace: 1,
    });
    await until("its grace is over", async () => {
      const { stdout } = await p4cache("gc", "--dry-run");
      return /^\S+Z {2}f39\n1 object is due\n$/.test(stdout) || stdout.startsWith("0 objects");
    });
    await p4cache("gc");
    await until("its object is removed", () => !filesBelow(store).has("f39"));
    assert(filesBelow(store).has("f1"));
    const { stdout } = await p4cache("gc", "--json");
    assertEquals(JSON.parse(stdout).objects, 0);
    const status = JSON.parse((await p4cache("status", "--json")).stdout);
    assertEquals(status.degraded, []);
    assertEquals(await second.stop(), 0);
  },
});
