/**
 * `p4-cache exec` and `shim check` of the compiled binary: the command is as it would be without us,
 * and sees evicted files.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { VERSION } from "../../src/version.ts";
import {
  BINARY,
  DaemonProcess,
  makePlaces,
  mayWatch,
  run,
  SHIM,
  TempDir,
} from "./daemon_process.ts";

if (!mayWatch()) console.log("exec on a depot is not tested: the daemon needs CAP_SYS_ADMIN");

/** Runs `p4-cache exec` with a home of its own. */
function exec(dir: string, args: readonly string[], env: Record<string, string> = {}) {
  return run(BINARY, ["exec", "--depot-path", `${dir}/depot`, "--", ...args], {
    env: { HOME: dir, XDG_CACHE_HOME: "", ...env },
  });
}

Deno.test({
  name: "a command sees a file that is only in the storage, and its copy is the file",
  ignore: !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const { depot, store, storage } = makePlaces(dir.path);
    Deno.mkdirSync(`${store}/main`);
    Deno.writeTextFileSync(`${store}/main/a,v`, "only there");
    await using _daemon = await DaemonProcess.start(depot, storage);
    const { code, stdout, stderr } = await exec(dir.path, ["cat", `${depot}/main/a,v`]);
    assertEquals([code, stdout, stderr], [0, "only there", ""]);
  },
});

Deno.test("exit code, signals, arguments, descriptors and SIGPIPE are the command's own", async () => {
  using dir = new TempDir();
  Deno.mkdirSync(`${dir.path}/depot`);
  assertEquals((await exec(dir.path, ["sh", "-c", "exit 41"])).code, 41);
  assertEquals((await exec(dir.path, ["sh", "-c", "kill -TERM $$"])).code, 143);
  assertEquals((await exec(dir.path, ["printf", "%s|", "-x", "--", "a b"])).stdout, "-x|--|a b|");
  const quiet = await exec(dir.path, ["bash", "-c", "yes | head -n 1; echo ${PIPESTATUS[0]}"]);
  assertEquals(quiet.stdout, "y\n141\n");
  const limits = await run("sh", [
    "-c",
    `ulimit -Sn 512; '${BINARY}' exec --depot-path '${dir.path}/depot' -- sh -c 'ulimit -Sn'; true`,
  ], { env: { HOME: dir.path } });
  assertEquals(limits.stdout, "512\n");
  const missing = await exec(dir.path, ["no-such-command"]);
  assertEquals([missing.code, missing.stdout], [127, ""]);
  assertEquals(missing.stderr, "p4-cache: Cannot run 'no-such-command': no such command\n");
  assertEquals((await exec(dir.path, [dir.path])).code, 126);
});

Deno.test("other preloads stay, and what is already set is not set twice", async () => {
  using dir = new TempDir();
  Deno.mkdirSync(`${dir.path}/depot`);
  const show = ["sh", "-c", 'echo "$LD_PRELOAD"; echo "$P4CACHE_DEPOT"; echo "$P4CACHE_TIMEOUT"'];
  const { stdout } = await exec(dir.path, show, { LD_PRELOAD: "libm.so.6", P4CACHE_TIMEOUT: "3" });
  const [preload, depot, timeout] = stdout.split("\n");
  assertMatch(preload!, /^\/.*\/libp4shim\.so:libm\.so\.6$/);
  assertEquals([depot, timeout], [`${dir.path}/depot`, "3"]);
});

Deno.test("shim check tells library, version and depot of a process, and of one without", async () => {
  using dir = new TempDir();
  const library = `${dir.path}/libp4shim.so`;
  Deno.copyFileSync(SHIM, library);
  const sleeper = (env: Record<string, string>) =>
    new Deno.Command("sleep", { args: ["600"], env, stdin: "null", stdout: "null" }).spawn();
  const check = async (pid: number) => {
    const { code, stdout } = await run(BINARY, ["shim", "check", String(pid), "--json"]);
    const { library, version, replaced, depot } = JSON.parse(stdout);
    return { code, library, version, replaced, depot };
  };
  const loaded = sleeper({ LD_PRELOAD: library, P4CACHE_DEPOT: "/some/depot" });
  const plain = sleeper({});
  try {
    // Until the loader has done its work the library is not there.
    while (!Deno.readTextFileSync(`/proc/${loaded.pid}/maps`).includes(library)) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const found = { code: 0, library, version: VERSION, replaced: false, depot: "/some/depot" };
    assertEquals(await check(loaded.pid), found);
    Deno.removeSync(library);
    const after = await check(loaded.pid);
    assertEquals([after.code, after.library, after.replaced], [0, library, true]);
    assertEquals(await check(plain.pid), {
      code: 1,
      library: null,
      version: null,
      replaced: false,
      depot: null,
    });
    const text = await run(BINARY, ["shim", "check", String(loaded.pid)]);
    assertMatch(text.stdout, /^shim: .* \(replaced since\)\nversion: .*\ndepot: \/some\/depot\n/);
  } finally {
    for (const child of [loaded, plain]) {
      child.kill("SIGKILL");
      await child.status;
    }
  }
  assertEquals((await run(BINARY, ["shim", "check", String(plain.pid)])).code, 1);
  assertEquals((await run(BINARY, ["shim", "check", "p4d"])).code, 2);
});
