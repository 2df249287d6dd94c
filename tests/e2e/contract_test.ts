/**
 * What outsiders rely on, tried from outside on the compiled binary: sockets, files, refusals.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  hasProgram,
  makePlaces,
  mayWatch,
  type Outcome,
  run,
  SHIM,
  TempDir,
  until,
} from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("contract tests of the daemon are skipped: they need CAP_SYS_ADMIN");
for (const program of ["socat", "mdb_stat", "promtool", "setpriv"]) {
  if (!hasProgram(program)) console.log(`tests that need ${program} are skipped: not installed`);
}

interface Place {
  readonly dir: string;
  readonly depot: string;
  readonly args: readonly string[];
}

function daemonTest(name: string, needs: string[], test: (place: Place) => Promise<void>): void {
  const ignore = noDaemon || needs.some((program) => !hasProgram(program));
  Deno.test({
    name,
    ignore,
    fn: async () => {
      using dir = new TempDir();
      const { depot, storage: args } = makePlaces(dir.path);
      await test({ dir: dir.path, depot, args });
    },
  });
}

/** One line on stderr, the exit code, nothing on stdout, and no state directory. */
function assertRefused(outcome: Outcome, code: number, ...parts: string[]): void {
  assertEquals(outcome.stdout, "");
  assertMatch(outcome.stderr, /^p4-cache: [^\n]+\n$/);
  for (const part of parts) assertStringIncludes(outcome.stderr, part);
  assertEquals(outcome.code, code, outcome.stderr);
}

daemonTest("socat gets NOTFOUND for a file that is nowhere", ["socat"], async ({ depot, args }) => {
  await using _daemon = await DaemonProcess.start(depot, args);
  const out = await run("sh", [
    "-c",
    `echo "FETCH test/nonexistent" | socat - UNIX-CONNECT:${depot}/.p4cache/shim.sock`,
  ]);
  assertEquals(out.stdout, "NOTFOUND\n");
});

daemonTest("the stats line has the contract's form", [], async ({ depot, args }) => {
  await using daemon = await DaemonProcess.start(depot, [...args, "--stats-interval", "1"]);
  Deno.writeTextFileSync(`${depot}/f`, "x"); // our write is another process's for the daemon
  const form =
    /\[stats\] cache=\d+\.\d\/100\.0 GB \| files: 1 total, 0 dirty, 0 uploading, 1 clean \| uploads: 1 ok, 0 fail \| restores: 0 ok, 0 fail \(0 secondary\) \| evictions: 0 \| shim: 0 fetch, \d+ miss\n/;
  await until("the stats line tells of the upload", () => form.test(daemon.log()));
});

daemonTest("the metrics file is clean for promtool", ["promtool"], async ({ dir, depot, args }) => {
  const file = `${dir}/p4cache.prom`;
  const flags = [...args, "--metrics-file", file, "--metrics-interval", "1"];
  await using _daemon = await DaemonProcess.start(depot, flags);
  await until(
    "the metrics file is there",
    () => [...Deno.readDirSync(dir)].some((e) => e.name === "p4cache.prom"),
  );
  const check = await run("sh", ["-c", `promtool check metrics < ${file}`]);
  assertEquals([check.code, check.stdout + check.stderr], [0, ""]);
  const text = Deno.readTextFileSync(file);
  assertStringIncludes(text, `p4cache_files_total{depot="${depot}",mode="readwrite"} 0`);
  assertStringIncludes(
    text,
    `p4cache_uploads_total{result="failure",depot="${depot}",mode="readwrite"} 0`,
  );
});

daemonTest("lmdb-utils read the manifest while the daemon works", ["mdb_stat"], async (place) => {
  const { dir, depot, args } = place;
  await using daemon = await DaemonProcess.start(depot, args);
  const manifest = `${depot}/.p4cache/manifest`;
  const names = Array.from({ length: 300 }, (_, i) => `f${i},v`);
  const writer = (async () => {
    for (const name of names) {
      Deno.writeTextFileSync(`${depot}/${name}`, name);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  for (let i = 0; i < 5; i++) {
    const stat = await run("mdb_stat", ["-a", manifest]);
    assertEquals(stat.code, 0, stat.stderr);
    for (const db of ["files", "dirty_queue", "evict_order"]) {
      assertStringIncludes(stat.stdout, `Status of ${db}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await writer;
  const dump = () => run("mdb_dump", ["-p", "-s", "files", manifest]);
  await until(
    "every file is in the dump",
    async () =>
      names.every(((text) => (name: string) => text.includes(` ${name}\n`))((await dump()).stdout)),
  );
  const copy = `${dir}/copy`;
  Deno.mkdirSync(copy);
  assertEquals((await run("mdb_copy", ["-c", manifest, copy])).code, 0);
  const copied = await run("mdb_dump", ["-p", "-s", "files", copy]);
  assertEquals(copied.stdout.match(/^ f\d+,v$/gm)?.length, names.length);
  assertEquals(await daemon.stop(), 0);
});

daemonTest(
  "a second daemon on the depot is refused, and told the first one's pid",
  [],
  async (p) => {
    await using daemon = await DaemonProcess.start(p.depot, p.args);
    const second = await run(BINARY, ["--depot-path", p.depot, ...p.args]);
    assertRefused(second, 1, `pid ${daemon.pid}`);
  },
);

daemonTest("a broken manifest is refused and left alone", [], async ({ depot, args }) => {
  const first = await DaemonProcess.start(depot, args);
  for (let i = 0; i < 500; i++) Deno.writeTextFileSync(`${depot}/f${i}`, "x");
  await until(
    "the files are tracked",
    async () => (await run("sh", ["-c", `ls ${depot}/../store | wc -l`])).stdout.trim() === "500",
  );
  assertEquals(await first.stop(), 0);
  const data = `${depot}/.p4cache/manifest/data.mdb`;
  Deno.truncateSync(data, Math.floor(Deno.statSync(data).size / 2));
  const size = Deno.statSync(data).size;
  assertRefused(await run(BINARY, ["--depot-path", depot, ...args]), 1, "cut short", "data");
  assertEquals(Deno.statSync(data).size, size);
});

daemonTest(
  "a detached daemon is ready when its starter returns",
  [],
  async ({ dir, depot, args }) => {
    const pidFile = `${dir}/p4-cache.pid`;
    const flags = ["--depot-path", depot, ...args, "--daemon", "--pid-file", pidFile];
    const out = await run(BINARY, [...flags, "--log-file", `${dir}/log`]);
    assertEquals(out.code, 0, out.stderr);
    const pid = Number(Deno.readTextFileSync(pidFile));
    const socket = `${depot}/.p4cache/shim.sock`;
    assert(Deno.statSync(socket).isSocket);
    assertEquals(Deno.statSync(socket).mode! & 0o777, 0o666);
    Deno.kill(pid, "SIGTERM");
    await until("the daemon is gone", () => {
      try {
        Deno.statSync(`/proc/${pid}`);
        return false;
      } catch {
        return true;
      }
    });
    assertEquals([...Deno.readDirSync(dir)].some((e) => e.name === "p4-cache.pid"), false);
  },
);

daemonTest("a daemon without the right to watch says what is missing and how to grant it", [
  "setpriv",
], async ({ dir, depot, args }) => {
  for (const path of [dir, depot, `${dir}/store`]) Deno.chmodSync(path, 0o777);
  const binary = `${dir}/p4-cache`; // where the other user may read it
  Deno.copyFileSync(BINARY, binary);
  const user = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"];
  const out = await run("setpriv", [...user, binary, "--depot-path", depot, ...args]);
  assertRefused(out, 1, "requires CAP_SYS_ADMIN", "setcap cap_sys_admin+ep", "AmbientCapabilities");
});

daemonTest("setcap on the binary is enough for another user; it needs no home and no /tmp", [
  "setpriv",
  "setcap",
], async ({ dir, depot, args }) => {
  for (const path of [dir, depot, `${dir}/store`]) Deno.chmodSync(path, 0o777);
  const binary = `${dir}/p4-cache`;
  Deno.copyFileSync(BINARY, binary);
  assertEquals((await run("setcap", ["cap_sys_admin+ep", binary])).code, 0);
  const user = ["--reuid=65534", "--regid=65534", "--clear-groups"];
  const theirs = () =>
    Array.from(Deno.readDirSync("/tmp"), (entry) => entry.name)
      .filter((name) => ownerOf(`/tmp/${name}`) === 65534).sort();
  // Another program of that user may have left something.
  const before = theirs();
  const child = new Deno.Command("setpriv", {
    args: [...user, binary, "--depot-path", depot, ...args],
    clearEnv: true,
    stdin: "null",
    stderr: "null",
    stdout: "null",
  }).spawn();
  try {
    await until("it answers", () => {
      try {
        return Deno.statSync(`${depot}/.p4cache/shim.sock`).isSocket === true;
      } catch {
        return false;
      }
    });
    Deno.writeTextFileSync(`${depot}/seen`, "written by another user");
    await until(
      "the file is uploaded",
      () => [...Deno.readDirSync(`${dir}/store`)].some((e) => e.name === "seen"),
    );
    assertEquals(theirs(), before);
  } finally {
    child.kill("SIGTERM");
    assertEquals((await child.status).code, 0);
  }
});

function ownerOf(path: string): number | null {
  try {
    return Deno.lstatSync(path).uid;
  } catch {
    return null; // another process's, gone meanwhile
  }
}

Deno.test("the binary alone in an empty directory answers, and writes its shim out", async () => {
  using dir = new TempDir();
  const binary = `${dir.path}/p4-cache`;
  Deno.copyFileSync(BINARY, binary);
  const alone = { cwd: dir.path, clearEnv: true };
  assertMatch((await run(binary, ["--version"], alone)).stdout, /^p4-cache \d+\.\d+\.\d+\n$/);
  assertStringIncludes((await run(binary, ["--help"], alone)).stdout, "--primary-type");
  const target = `${dir.path}/libp4shim.so`;
  assertEquals((await run(binary, ["shim", "install", "--to", target], alone)).code, 0);
  assertEquals(Deno.readFileSync(target), Deno.readFileSync(SHIM));
});

Deno.test("bad input is refused in one line before anything is touched", async () => {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`, file = `${dir.path}/file`, config = `${dir.path}/config.json`;
  Deno.mkdirSync(depot);
  Deno.writeTextFileSync(file, "");
  const nfs = ["--primary-type", "nfs", "--primary-path", dir.path];
  const good = ["--depot-path", depot, ...nfs];
  const refused = async (args: string[], ...parts: string[]) =>
    assertRefused(await run(BINARY, args), 2, ...parts);
  await refused([...good, "--max-cahce-gb", "1"], "--max-cahce-gb", "--max-cache-gb");
  await refused([...good, "--upload-threads", "many"], "--upload-threads", "many");
  await refused(["--depot-path", `${dir.path}/none`, ...nfs], "none");
  await refused(["--depot-path", file, ...nfs], "directory");
  await refused(["--depot-path", depot], "primary");
  const marks = ["--max-cache-bytes", "10", "--low-watermark-bytes", "11"];
  await refused([...good, ...marks], "watermark");
  Deno.writeTextFileSync(config, '{ "max_cahce_gb": 1 }');
  await refused([...good, "--config", config], "max_cahce_gb", "max_cache_gb");
  Deno.writeTextFileSync(config, '{ "upload_threads": "many" }');
  await refused([...good, "--config", config], "upload_threads");
  Deno.writeTextFileSync(config, '{ "depot_path": ');
  await refused([...good, "--config", config], config);
  assertEquals([...Deno.readDirSync(depot)], []);
});
