/**
 * What the machine around the binary may be like: refusals in one line, and no traces left.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  hasProgram,
  makePlaces,
  type Outcome,
  run,
  TempDir,
} from "./daemon_process.ts";

const isRoot = Deno.uid() === 0;
if (!isRoot || !hasProgram("setpriv")) {
  console.log("a test with another user is skipped: it needs root and setpriv");
}

const NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/** A replica: what is tested here needs no right to watch. */
function makeReplica(dir: string): { depot: string; args: string[] } {
  const { depot, storage } = makePlaces(dir);
  return { depot, args: ["--read-only", ...storage] };
}

function assertRefused(outcome: Outcome, ...parts: string[]): void {
  assertMatch(outcome.stderr, /^p4-cache: [^\n]+\n$/);
  for (const part of parts) assertStringIncludes(outcome.stderr, part);
  assertEquals([outcome.code, outcome.stdout], [1, ""]);
}

Deno.test({
  name: "a depot where the daemon may not write is refused with the directory and the user",
  ignore: !isRoot || !hasProgram("setpriv"),
  fn: async () => {
    using dir = new TempDir();
    Deno.chmodSync(dir.path, 0o755);
    const { depot, args } = makeReplica(dir.path);
    const binary = `${dir.path}/p4-cache`;
    Deno.copyFileSync(BINARY, binary);
    const out = await run("setpriv", [...NOBODY, binary, "--depot-path", depot, ...args]);
    assertRefused(out, `${depot}/.p4cache`, "writable", "65534");
    assertEquals([...Deno.readDirSync(depot)], []);
  },
});

Deno.test("a manifest of another data format is refused and left as it was", async () => {
  using dir = new TempDir();
  const { depot, args } = makeReplica(dir.path);
  await using daemon = await DaemonProcess.start(depot, args);
  assertEquals(await daemon.stop(), 0);
  const path = `${depot}/.p4cache/manifest/data.mdb`;
  const data = Deno.readFileSync(path);
  // Both meta pages: page header of 16 bytes, magic, then the version of the format.
  const view = new DataView(data.buffer);
  for (const page of [0, 4096]) {
    assertEquals(view.getUint32(page + 16, true), 0xbeefc0de);
    view.setUint32(page + 20, 2, true);
  }
  Deno.writeFileSync(path, data);
  const log = `${dir.path}/log`;
  const out = await run(BINARY, ["--depot-path", depot, ...args, "--log-file", log]);
  const why = out.stderr.replace(/^p4-cache: /, "");
  assertStringIncludes(Deno.readTextFileSync(log), ` ERROR daemon: ${why}`);
  assertRefused(out, path.slice(0, path.lastIndexOf("/")), "data format 1", "mdb_dump");
  assertEquals(Deno.readFileSync(path), data);
});

Deno.test("the binary runs without environment, and leaves nothing in the temporary directory", async () => {
  using dir = new TempDir();
  const { depot, args } = makeReplica(dir.path);
  const temporary = `${dir.path}/tmp`, socket = `${depot}/.p4cache/shim.sock`;
  Deno.mkdirSync(temporary);
  const alone = { cwd: dir.path, clearEnv: true, env: { TMPDIR: temporary } };
  assertEquals((await run(BINARY, ["--version"], alone)).code, 0);
  const daemon = new Deno.Command(BINARY, {
    args: ["--depot-path", depot, ...args],
    ...alone,
    stdin: "null",
    stderr: "piped",
  }).spawn();
  while (!exists(socket)) await new Promise((resolve) => setTimeout(resolve, 20));
  const mapped = Deno.readTextFileSync(`/proc/${daemon.pid}/maps`);
  assertEquals(mapped.includes(temporary), false);
  daemon.kill("SIGTERM");
  assertEquals((await daemon.output()).code, 0);
  assertEquals([...Deno.readDirSync(temporary)], []);
  assertEquals([...Deno.readDirSync(dir.path)].length, 3);
});

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("a depot whose path is not ASCII is served, and its files come back", async () => {
  using dir = new TempDir();
  const depot = `${dir.path}/dépôt`, store = `${dir.path}/magasin`;
  for (const path of [depot, store]) Deno.mkdirSync(path);
  Deno.writeTextFileSync(`${store}/ü,v`, "text");
  const args = ["--read-only", "--primary-type", "nfs", "--primary-path", store];
  await using daemon = await DaemonProcess.start(depot, args);
  assertMatch(await daemon.fetch("ü,v"), /^OK/);
  assertEquals(Deno.readTextFileSync(`${depot}/ü,v`), "text");
});
