/**
 * The admin commands against a running daemon, as an operator types them.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  makePlaces,
  mayWatch,
  type Outcome,
  run,
  TempDir,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of the admin commands are skipped: they need CAP_SYS_ADMIN");

interface Place {
  readonly depot: string;
  readonly store: string;
  readonly args: readonly string[];
  /** Runs a command for this depot. */
  p4cache(...args: string[]): Promise<Outcome>;
}

function adminTest(name: string, test: (place: Place) => Promise<void>): void {
  Deno.test({
    name,
    ignore: noDaemon,
    fn: async () => {
      using dir = new TempDir();
      const { depot, store, storage: args } = makePlaces(dir.path);
      const p4cache = (...args: string[]) => run(BINARY, args, { env: { P4CACHE_DEPOT: depot } });
      await test({ depot, store, args, p4cache });
    },
  });
}

/** Keeps a file dirty: its name in the store is taken by a directory. Returns what ends that. */
function refuseUpload(store: string, name: string): () => void {
  Deno.mkdirSync(`${store}/${name}`);
  return () => Deno.removeSync(`${store}/${name}`);
}

adminTest("a command without daemon says so, in one line", async ({ depot, p4cache }) => {
  for (const command of [["status"], ["flush"], ["ls"], ["queue"], ["prefetch", "a"], ["drain"]]) {
    const { code, stdout, stderr } = await p4cache(...command);
    assertEquals([code, stdout], [1, ""]);
    assertMatch(stderr, /^p4-cache: Cannot reach the daemon of [^\n]+: it is not running[^\n]*\n$/);
    assertStringIncludes(stderr, depot);
  }
});

adminTest("status tells what is there, for people and programs", async (place) => {
  const { depot, args, p4cache } = place;
  Deno.writeTextFileSync(`${depot}/a`, "12345");
  await using daemon = await DaemonProcess.start(depot, args);
  assertEquals(
    (await p4cache("flush", "--wait", "--timeout", "30")).stdout,
    "Every file is uploaded\n",
  );
  const status = JSON.parse((await p4cache("status", "--json")).stdout);
  assertEquals(status.depot, depot);
  assertEquals(status.pid, daemon.pid);
  assertEquals(status.mode, "readwrite");
  assertEquals(status.files, { total: 1, clean: 1, dirty: 0, uploading: 0, restoring: 0 });
  assertEquals(status.cache.bytes, 5);
  assertEquals(status.oldestDirtySeconds, null);
  assertEquals(status.totals.uploadsOk, 1);
  assertEquals(status.storage.primary.reachable, true);
  const text = (await p4cache("status")).stdout;
  assertMatch(text, /^Depot: +\S+ \(read-write\)\n/);
  assertMatch(text, /\nFiles: +1: 1 clean, 0 dirty, 0 uploading, 0 restoring\n/);
});

adminTest("a command ends when nobody reads what it prints any more", async (place) => {
  const { depot, args } = place;
  await using _daemon = await DaemonProcess.start(depot, args);
  for (const command of ["status --watch", "status --watch --json", "events --follow"]) {
    const line = `${BINARY} ${command} --depot-path ${depot} | head -n 1; echo "\${PIPESTATUS[0]}"`;
    if (command.startsWith("events")) Deno.writeTextFileSync(`${depot}/first`, "1");
    const running = run("bash", ["-c", line]);
    // What is told after the first line finds nobody.
    const more = setInterval(() => Deno.writeTextFileSync(`${depot}/more`, "2"), 50);
    const { stdout, stderr } = await running;
    clearInterval(more);
    assertEquals(stdout.trim().split("\n").at(-1), "141", command);
    assertEquals(stderr, "", command);
  }
});

adminTest("flush does not call it done while a file is dirty", async (place) => {
  const { depot, store, args, p4cache } = place;
  await using _daemon = await DaemonProcess.start(depot, args);
  const accept = refuseUpload(store, "a");
  Deno.writeTextFileSync(`${depot}/a`, "1");
  const late = await p4cache("flush", "--wait", "--timeout", "1");
  assertEquals([late.code, late.stdout], [1, "1 file is still dirty\n"]);
  const queue = JSON.parse((await p4cache("queue", "--json")).stdout);
  assertEquals(queue.total, 1);
  assertEquals([queue.files[0].path, queue.files[0].size], ["a", 1]);
  accept();
  const done = await p4cache("flush", "--wait");
  assertEquals([done.code, done.stdout], [0, "Every file is uploaded\n"]);
  assertEquals(Deno.readTextFileSync(`${store}/a`), "1");
});

adminTest(
  "flush waits for what was there before, and for what was written just now",
  async (place) => {
    const { depot, store, args, p4cache } = place;
    const FILES = 3000;
    for (let i = 0; i < FILES; i++) Deno.writeTextFileSync(`${depot}/f${i}`, "1");
    await using _daemon = await DaemonProcess.start(depot, args);
    const stored = () => Array.from(Deno.readDirSync(store)).filter(({ name }) => /^f/.test(name));
    assertEquals((await p4cache("flush", "--wait")).stdout, "Every file is uploaded\n");
    assertEquals(stored().length, FILES);
    for (let i = 0; i < 10; i++) {
      Deno.writeTextFileSync(`${depot}/f${i}`, "again");
      assertEquals((await p4cache("flush", "--wait")).code, 0);
      assertEquals(Deno.readTextFileSync(`${store}/f${i}`), "again");
    }
  },
);

adminTest("ls tells what is local, dirty and remote, below a path", async (place) => {
  const { depot, store, args, p4cache } = place;
  Deno.mkdirSync(`${depot}/d`);
  Deno.mkdirSync(`${store}/d`);
  Deno.writeTextFileSync(`${depot}/d/clean`, "12");
  Deno.writeTextFileSync(`${store}/d/evicted`, "123");
  Deno.writeTextFileSync(`${store}/d-not`, "");
  await using _daemon = await DaemonProcess.start(depot, args);
  await p4cache("flush", "--wait");
  assertEquals((await p4cache("ls", "d")).stdout, "d/clean\nd/evicted\n");
  assertEquals((await p4cache("ls", `${depot}/d`, "--only", "remote")).stdout, "d/evicted\n");
  assertEquals((await p4cache("ls")).stdout, "d-not\nd/clean\nd/evicted\n");
  refuseUpload(store, "d/dirty");
  Deno.writeTextFileSync(`${depot}/d/dirty`, "1234");
  await p4cache("flush", "--wait", "--timeout", "1");
  const lines = (await p4cache("ls", "--only", "local", "--json")).stdout.trimEnd().split("\n");
  const files = lines.map((line) => JSON.parse(line));
  assertEquals(files.map(({ path, place, size }) => [path, place, size]), [
    ["d/clean", "clean", 2],
    ["d/dirty", "dirty", 4],
  ]);
  assertEquals((await p4cache("ls", "--only", "elsewhere")).code, 2);
  assertEquals((await p4cache("ls", "../outside")).code, 2);
  const slip = await p4cache("ls", "dd");
  assertEquals([slip.code, slip.stderr], [
    1,
    "p4-cache: Cannot find 'dd': the depot has no such file or directory, here or in storage; " +
    "paths begin at the depot\n",
  ]);
});

adminTest(
  "prefetch brings files and directories back, and says what it could not",
  async (place) => {
    const { depot, store, args, p4cache } = place;
    Deno.mkdirSync(`${store}/d/e`, { recursive: true });
    for (const name of ["one", "d/two", "d/e/three"]) {
      Deno.writeTextFileSync(
        `${store}/${name}`,
        name,
      );
    }
    await using _daemon = await DaemonProcess.start(depot, args);
    const { code, stdout, stderr } = await p4cache("prefetch", "one", `${depot}/d`, "nowhere");
    assertEquals(code, 1);
    assertMatch(stdout, /^On the disk: 3 files \([^)]+\), 1 failed\n$/);
    assertStringIncludes(stderr, "Cannot restore nowhere: no such file or directory");
    for (const name of ["one", "d/two", "d/e/three"]) {
      assertEquals(Deno.readTextFileSync(`${depot}/${name}`), name);
    }
    const list = `${depot}.list`;
    Deno.writeTextFileSync(list, "one\nd/two\n");
    assertEquals((await p4cache("restore", `@${list}`)).code, 0);
  },
);

adminTest("a drained cache evicts nothing, also after a restart, until undrain", async (place) => {
  const { depot, args, p4cache } = place;
  const small = [...args, "--max-cache-bytes", "1000", "--low-watermark-bytes", "1000"];
  const status = async () => JSON.parse((await p4cache("status", "--json")).stdout);
  {
    await using daemon = await DaemonProcess.start(depot, small);
    const { stdout } = await p4cache("drain", "--json", "--reason", "tape change");
    assertEquals(JSON.parse(stdout), { drained: "tape change" });
    for (let i = 0; i < 4; i++) Deno.writeFileSync(`${depot}/f${i}`, new Uint8Array(1000));
    await p4cache("flush", "--wait");
    assertEquals(await daemon.stop(), 0);
  }
  await using _daemon = await DaemonProcess.start(depot, small);
  // The watermark is looked at twice a second; five looks show that nothing goes.
  await new Promise((resolve) => setTimeout(resolve, 2500));
  const held = await status();
  assertEquals([held.drained, held.files.total, held.totals.evictions], ["tape change", 4, 0]);
  assertEquals((await p4cache("undrain", "--json")).stdout, '{"drained":null}\n');
  while ((await status()).files.total > 0) await new Promise((resolve) => setTimeout(resolve, 50));
});

adminTest(
  "others than root and the daemon's user may not use the control socket",
  async (place) => {
    const { depot, args } = place;
    await using _daemon = await DaemonProcess.start(depot, args);
    const socket = Deno.statSync(`${depot}/.p4cache/control.sock`);
    assertEquals(socket.mode! & 0o777, 0o600);
    // Where others may come: the checkout need not be such a place.
    const dir = depot.slice(0, depot.lastIndexOf("/")), binary = `${dir}/p4-cache`;
    Deno.copyFileSync(BINARY, binary);
    for (const path of [dir, depot, binary]) Deno.chmodSync(path, 0o755);
    const { code, stderr } = await run("setpriv", [
      "--reuid=65534",
      "--clear-groups",
      binary,
      "status",
      "--depot-path",
      depot,
    ]);
    assertEquals(code, 1);
    assertStringIncludes(stderr, "may not be used by uid 65534");
  },
);
