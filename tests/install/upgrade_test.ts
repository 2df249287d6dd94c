/**
 * Upgrades of a running daemon, the way back, and the uninstaller's refusal.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { mayWatch, run, until } from "../e2e/daemon_process.ts";
import { Machine } from "./machine.ts";
import { ReleaseServer, VERSION } from "./release_folder.ts";

const ignore = !mayWatch();
if (ignore) console.log("tests of upgrades are skipped: they need CAP_SYS_ADMIN");

Deno.test("an installed daemon starts, is upgraded, and goes back by 'p4-cache rollback'", {
  ignore,
}, async () => {
  await using machine = new Machine();
  await using server = new ReleaseServer(await machine.releases());
  const first = await machine.install(server.url, "0.0.9");
  assertEquals(first.code, 0, first.stderr + first.stdout);
  assertStringIncludes(first.stdout, "enable and start p4-cache.service");
  assertEquals(await machine.version(), "0.0.9");
  const second = await machine.install(server.url, "0.0.9");
  assertEquals(second.stdout, "Nothing to do: p4-cache 0.0.9 is installed\n");

  const upgrade = await machine.install(server.url, VERSION);
  assertEquals(upgrade.code, 0, upgrade.stderr + upgrade.stdout);
  assertStringIncludes(upgrade.stdout, "'p4-cache rollback' returns to it");
  assertEquals(await machine.version(), VERSION);
  const capability = await run("getcap", [machine.program]);
  assertStringIncludes(capability.stdout, "cap_sys_admin");

  const shim = `${machine.path}/lib/libp4shim.so`;
  const back = await run(machine.program, ["rollback", "--json", "--no-restart", "--shim", shim]);
  assertEquals(back.code, 0, back.stderr);
  const { program, restarted } = JSON.parse(back.stdout);
  assertEquals([program, restarted], [machine.program, false]);
  assertMatch(Deno.readTextFileSync(machine.program), /"version":"0\.0\.9"/);
  assert(Deno.statSync(`${machine.program}.previous`).size > 1e6, "a second rollback goes forward");
});

Deno.test(
  "an upgrade whose daemon does not answer is rolled back by itself",
  { ignore },
  async () => {
    await using machine = new Machine();
    await using server = new ReleaseServer(await machine.releases());
    assertEquals((await machine.install(server.url, VERSION)).code, 0);
    Deno.writeTextFileSync(`${machine.depot}/file`, "kept");
    await until("it is uploaded", async () => (await run("ls", [machine.store])).stdout !== "");
    const { code, stderr } = await machine.install(server.url, "0.9.9");
    assertEquals(code, 3, stderr);
    assertStringIncludes(stderr, "Rolled back to the previous program");
    await until(
      "the old daemon answers",
      async () => (await machine.p4cache("status", "--json")).code === 0,
    );
    assertEquals(await machine.version(), VERSION);
    assertStringIncludes(Deno.readTextFileSync(`${machine.program}.failed`), "broken");
    assertEquals(Deno.readTextFileSync(`${machine.depot}/file`), "kept");
  },
);

Deno.test("uninstalling is refused while a file is dirty, and while nobody can tell", {
  ignore,
}, async () => {
  await using machine = new Machine();
  await using server = new ReleaseServer(await machine.releases());
  assertEquals((await machine.install(server.url, VERSION)).code, 0);
  // Its name in the storage is taken by a directory.
  Deno.mkdirSync(`${machine.store}/file`);
  Deno.writeTextFileSync(`${machine.depot}/file`, "only here");
  await until("it is dirty", async () => {
    const { files } = JSON.parse((await machine.p4cache("status", "--json")).stdout);
    return files.dirty + files.uploading > 0;
  });
  const dirty = await machine.install(server.url, VERSION, ["--uninstall"]);
  assertEquals(dirty.code, 1, dirty.stdout);
  assertMatch(dirty.stderr, /Cannot uninstall: .* (dirty \(1\)|uploaded \(1\))/);
  await machine.systemctl("disable");
  const down = await machine.install(server.url, VERSION, ["--uninstall"]);
  assertEquals(down.code, 1, down.stdout);
  assertStringIncludes(down.stderr, "Cannot tell whether all is uploaded");
  assert(Deno.statSync(machine.program).isFile);

  Deno.removeSync(`${machine.store}/file`);
  await machine.systemctl("enable");
  await until("it is uploaded", async () => (await machine.p4cache("flush", "--wait")).code === 0);
  const done = await machine.install(server.url, VERSION, ["--uninstall", "--purge"]);
  assertEquals(done.code, 0, done.stderr);
  assertStringIncludes(done.stdout, "stop p4-cache.service");
  assertEquals(Deno.readTextFileSync(`${machine.depot}/file`), "only here");
  assertEquals(
    (await run("ls", [`${machine.path}/bin`, `${machine.path}/systemd`])).stdout.includes(
      "p4-cache",
    ),
    false,
  );
});
