/**
 * Directories that take each other's names while their files are evicted, through the compiled daemon. Their
 * files are alike in name, size, mtime and mode, so that only their bytes tell whose they are.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import {
  DaemonProcess,
  filesBelow,
  makePlaces,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "./daemon_process.ts";

const ignore = !mayWatch();
if (ignore) console.log("tests of evicted directories are skipped: they need CAP_SYS_ADMIN");

const NAMES = Array.from({ length: 60 }, (_, i) => `f${i}`);

/** Bytes of each file; all of them together are more than the cache may keep. */
const SIZE = 3000;

const LIMITS = ["--max-cache-bytes", "200000", "--low-watermark-bytes", "100000"];

const contentOf = (owner: string, name: string) => `${owner} ${name} `.repeat(SIZE).slice(0, SIZE);

/** What p4d reads in the directory, restored where it has to be. */
async function readAll(depot: string, dir: string): Promise<string[]> {
  const args = NAMES.map((name) => `${depot}/${dir}/${name}`);
  const { code, stdout, stderr } = await run("cat", args, { env: shimEnv(depot) });
  assertEquals([code, stderr], [0, ""]);
  return NAMES.map((_, i) => stdout.slice(i * SIZE, (i + 1) * SIZE));
}

/** A depot with the directories `a` and `c`, and a daemon that has begun to evict. */
class Twins {
  readonly depot: string;
  readonly #storage: readonly string[];
  /** Whose files are below each name. */
  readonly #owners = { a: "of-a", c: "of-c" };

  constructor(dir: string) {
    const { depot, storage } = makePlaces(dir);
    this.depot = depot;
    this.#storage = storage;
    for (const name of ["a", "c"] as const) {
      Deno.mkdirSync(`${depot}/${name}`);
      for (const file of NAMES) {
        Deno.writeTextFileSync(`${depot}/${name}/${file}`, contentOf(this.#owners[name], file));
        Deno.utimeSync(`${depot}/${name}/${file}`, 1_700_000_000, 1_700_000_000);
      }
    }
  }

  start(): Promise<DaemonProcess> {
    return DaemonProcess.start(this.depot, [...this.#storage, ...LIMITS]);
  }

  async settled(): Promise<void> {
    await until("some are evicted", () => filesBelow(this.depot).size < NAMES.length);
  }

  /** `mv a t; mv c a; mv t c` */
  swap(): void {
    for (const [from, to] of [["a", "t"], ["c", "a"], ["t", "c"]]) {
      Deno.renameSync(`${this.depot}/${from}`, `${this.depot}/${to}`);
    }
    [this.#owners.a, this.#owners.c] = [this.#owners.c, this.#owners.a];
  }

  /** Reads everything, so that eviction begins again. */
  async check(): Promise<void> {
    for (const dir of ["a", "c"] as const) {
      const found = await readAll(this.depot, dir);
      assertEquals(found, NAMES.map((name) => contentOf(this.#owners[dir], name)), dir);
    }
  }

  /** Nothing was kept aside. */
  assertNoConflicts(): void {
    assertEquals([...Deno.readDirSync(`${this.depot}/.p4cache/conflicts`)], []);
  }
}

Deno.test({
  name:
    "P1: directories take each other's names under eviction, and every file keeps its own bytes",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    const twins = new Twins(dir.path);
    await using daemon = await twins.start();
    await twins.settled();
    for (let round = 0; round < 5; round++) {
      await twins.check();
      twins.swap();
    }
    await twins.check();
    twins.assertNoConflicts();
    assertEquals(await daemon.stop(), 0);
  },
});

Deno.test({
  name:
    "P1: killed before the renames' events were read, every file has its own bytes after a start",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    const twins = new Twins(dir.path);
    {
      await using daemon = await twins.start();
      await twins.settled();
      assertEquals(await daemon.stop(), 0);
    }
    for (let round = 0; round < 3; round++) {
      await using daemon = await twins.start();
      await twins.check();
      // In the middle of an eviction, mostly.
      Deno.kill(daemon.pid, "SIGSTOP");
      twins.swap();
      await daemon.kill();
    }
    await using daemon = await twins.start();
    await twins.check();
    twins.assertNoConflicts();
    assert(!daemon.log().includes("ERROR"), daemon.log());
    assertEquals(await daemon.stop(), 0);
  },
});
