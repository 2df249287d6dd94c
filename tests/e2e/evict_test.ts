/**
 * Evicting by name, and watching what happens, as an operator does.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  makePlaces,
  mayWatch,
  type Outcome,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of evicting by name are skipped: they need CAP_SYS_ADMIN");

interface Place {
  readonly depot: string;
  readonly store: string;
  readonly daemon: DaemonProcess;
  p4cache(...args: string[]): Promise<Outcome>;
}

function evictTest(name: string, test: (place: Place) => Promise<void>): void {
  Deno.test({
    name,
    ignore: noDaemon,
    fn: async () => {
      using dir = new TempDir();
      const { depot, store, storage } = makePlaces(dir.path);
      Deno.mkdirSync(`${depot}/old`);
      for (const name of ["old/a", "old/b", "new"]) {
        Deno.writeTextFileSync(`${depot}/${name}`, name);
      }
      const p4cache = (...args: string[]) => run(BINARY, args, { env: { P4CACHE_DEPOT: depot } });
      await using daemon = await DaemonProcess.start(depot, storage);
      assertEquals((await p4cache("flush", "--wait")).code, 0);
      await test({ depot, store, daemon, p4cache });
    },
  });
}

evictTest(
  "what is named goes, what is next to it stays, and all is there again on demand",
  async (place) => {
    const { depot, daemon, p4cache } = place;
    const dry = await p4cache("evict", "--dry-run", "old");
    assertMatch(dry.stdout, /^2 files \(10 B\) would be evicted\n$/);
    assertEquals(filesBelow(depot).size, 3);
    assertMatch((await p4cache("evict", `${depot}/old`)).stdout, /^2 files \(10 B\) evicted\n$/);
    assertEquals([...filesBelow(depot).keys()], ["new"]);
    assertEquals(await daemon.fetch("old/a"), "OK 5");
    assertEquals(Deno.readTextFileSync(`${depot}/old/a`), "old/a");
  },
);

evictTest("pinned files and files that somebody has open stay, with the reason", async (place) => {
  const { depot, p4cache } = place;
  assertEquals((await p4cache("pin", "old/a")).code, 0);
  using _open = Deno.openSync(`${depot}/old/b`);
  const { code, stdout, stderr } = await p4cache("evict", "old", "new");
  assertEquals([code, stdout], [1, "1 file (3 B) evicted, 2 stayed\n"]);
  assertStringIncludes(stderr, "old/a stays: pinned\n");
  assertStringIncludes(stderr, "old/b stays: in_use\n");
  assertEquals([...filesBelow(depot).keys()].sort(), ["old/a", "old/b"]);
});

evictTest("a file that is only here stays", async (place) => {
  const { depot, store, p4cache } = place;
  Deno.mkdirSync(`${store}/dirty`);
  Deno.writeTextFileSync(`${depot}/dirty`, "1");
  const isRecorded = async () => (await p4cache("queue")).stdout.includes("dirty");
  await until("it is dirty", isRecorded);
  const { code, stderr } = await p4cache("evict", "dirty");
  assertEquals([code, stderr], [1, "p4-cache: dirty stays: dirty\n"]);
  assertEquals(Deno.readTextFileSync(`${depot}/dirty`), "1");
});

evictTest("so many bytes of the coldest files go; a drained cache lets none go", async (place) => {
  const { depot, p4cache } = place;
  const state = JSON.parse((await p4cache("evict", "--bytes", "6", "--json")).stdout);
  assertEquals([state.evicted, state.stayed], [2, 0]);
  assertEquals(filesBelow(depot).size, 1);
  await p4cache("drain", "--reason", "backup");
  assertStringIncludes((await p4cache("evict", "old")).stderr, "nothing is evicted: backup");
  assertEquals((await p4cache("evict")).code, 2);
});

evictTest("events tell what happened and go on telling; top draws it", async (place) => {
  const { depot, p4cache } = place;
  const follower = new Deno.Command(BINARY, {
    args: ["events", "--follow", "--json", "--depot-path", depot],
    stdout: "piped",
    stdin: "null",
  }).spawn();
  const lines: { kind: string; path: string }[] = [];
  const reading = (async () => {
    let rest = "";
    for await (const text of follower.stdout.pipeThrough(new TextDecoderStream())) {
      const parts = (rest + text).split("\n");
      rest = parts.pop()!;
      lines.push(...parts.map((part) => JSON.parse(part)));
    }
  })();
  const has = (kind: string, path: string) =>
    lines.some((each) => each.kind === kind && each.path === path);
  await until("the past is told", () => has("uploaded", "old/a"));
  await p4cache("evict", "old/a");
  await until("the present is told", () => has("evicted", "old/a"));
  await p4cache("restore", "old/a");
  await until("the future is told", () => has("restored", "old/a"));
  follower.kill("SIGTERM");
  await Promise.all([reading, follower.status]);
  const only = (await p4cache("events", "--only", "evicted")).stdout;
  assertMatch(only, /^\S+Z {2}evicted {9}old\/a {2}\(5 B\)\n$/);
  const top = await p4cache("top");
  assertEquals(top.code, 0);
  assertStringIncludes(top.stdout, "Slowest restores\n");
});
