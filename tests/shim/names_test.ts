/**
 * New names, deleted names, and listings of evicted files, with a daemon played by the test.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { hasProgram } from "../e2e/daemon_process.ts";
import { FakeDaemon } from "./fake_daemon.ts";
import { withDepot } from "./fake_depot.ts";

const DELETES = ["unlink", "unlinkat", "unlinkat dirfd", "remove"];

Deno.test("a delete of an evicted file is the daemon's, and brings nothing back", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    for (const call of DELETES) {
      daemon.store.set("d/f", { content: "here" });
      daemon.asked.length = 0;
      assertEquals(await probe(call, `${depot}/d/f`), "ok 0", call);
      assertEquals(daemon.asked, ["UNLINK d/f"], call);
      assertEquals(await probe(call, `${depot}/d/f`), "error ENOENT", call);
      assertEquals([...Deno.readDirSync(`${depot}/d`)], []);
    }
    daemon.store.set("d/f", { content: "here" });
    assertEquals(await probe("unlink, then look", `${depot}/d/f`), "error ENOENT");
    daemon.store.set("d/f", { content: "here" });
    assertEquals(await probe("unlink, then create", `${depot}/d/f`), "ok 0");
  }));

Deno.test("P3: a delete that the daemon cannot say anything about is EIO, a replica's EROFS", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    daemon.store.set("d/f", { line: "ERROR backend is down" });
    assertEquals(await probe("unlink", `${depot}/d/f`), "error EIO");
    daemon.store.set("d/f", { line: "ERROR read-only: a replica deletes nothing" });
    assertEquals(await probe("remove", `${depot}/d/f`), "error EROFS");
    await daemon.stop();
    assertEquals(await probe("unlink", `${depot}/d/f`, { P4CACHE_TIMEOUT: "0.2" }), "error EIO");
  }));

for (const how of ["refuses", "hangs up"] as const) {
  Deno.test(`with an older daemon, which ${how}, a deleted file is brought back and unlinked`, () =>
    withDepot(async ({ depot, env, probe, sh }, daemon) => {
      await daemon.stop();
      await using old = new FakeDaemon(env["P4CACHE_SOCK"]!, depot, { old: how });
      old.store.set("d/f", { content: "here" });
      assertEquals(await probe("unlink", `${depot}/d/f`), "ok 0");
      assertEquals([...new Set(old.asked)], ["UNLINK d/f", "d/f"]);
      assertEquals([...Deno.readDirSync(`${depot}/d`)], []);
      for (const name of ["a", "b", "c"]) old.store.set(`d/${name}`, { content: name });
      assertEquals(await sh("cat d/a d/b d/c", depot), "abc");
      assertEquals(await probe("unlink", `${depot}/d/none`), "error ENOENT");
    }));
}

Deno.test("connections are kept: many questions of a process take one", () =>
  withDepot(async ({ depot, sh }, daemon) => {
    for (const name of ["a", "b", "c"]) daemon.store.set(`d/${name}`, { content: name });
    assertEquals(await sh("exec cat d/a d/b d/c", depot), "abc");
    assertEquals(daemon.connections, 1);
  }));

Deno.test("what may overwrite needs nothing back, what may not fails with EEXIST", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    const exclusive = [
      ["mkdir", "mkdirat", "mkfifo", "symlink", "symlinkat"],
      ["link over", "linkat over", "noreplace over", "open excl creat"],
    ].flat();
    for (const [i, call] of exclusive.entries()) {
      daemon.store.set(`d/f${i}`, { content: "here" });
      assertEquals(await probe(call, `${depot}/d/f${i}`), "error EEXIST", call);
      assertEquals(await probe(call, `${depot}/d/free${i}`), "ok 0", call);
    }
    daemon.asked.length = 0;
    daemon.store.set("d/over", { content: "old content" });
    assertEquals(await probe("rename over", `${depot}/d/over`), "ok 0");
    assertEquals(daemon.asked.includes("d/over"), false);
    // Outside the depot nobody is asked.
    daemon.asked.length = 0;
    assertEquals(await probe("mkdir", `${depot}/../outside`), "ok 0");
    assertEquals(daemon.asked, []);
  }));

const LISTING = { P4CACHE_LIST: "1" };

Deno.test("with P4CACHE_LIST=1 evicted files are listed, each name once; without it they are not", () =>
  withDepot(async ({ depot, play, probe, sh }, daemon) => {
    for (const name of ["d/a", "d/b", "d/sub/x", "top"]) {
      daemon.store.set(name, { content: name });
    }
    Deno.writeTextFileSync(`${depot}/d/b`, "d/b");
    Deno.writeTextFileSync(`${depot}/d/c`, "local");
    Deno.mkdirSync(`${depot}/d/sub`);
    for (const way of ["readdir", "readdir64", "fdopendir", "scandir", "rewind", "seek"]) {
      assertEquals(await play("list", way, `${depot}/d`, LISTING), "a b c sub", way);
      assertEquals(await play("list", way, `${depot}/d`), "b c sub", way);
    }
    assertEquals(daemon.asked.filter((path) => !path.startsWith("LIST")), []);
    assertEquals(await play("list", "readdir", depot, LISTING), "d top");
    assertEquals(await play("list", "readdir", `${depot}/..`), "depot list shim.sock");
    assertEquals(
      await sh("ls d; echo d/*; ls -A", depot, LISTING),
      "a\nb\nc\nsub\nd/a d/b d/c d/sub\nd\ntop\n",
    );
    assertEquals(await probe("scandir64", `${depot}/d/a`, LISTING), "ok 1");
    assertEquals(await probe("scandir64", `${depot}/d/a`), "ok 0");
    assertEquals(
      await sh("find . -type f | sort | xargs cat", depot, LISTING),
      "d/ad/blocald/sub/xtop",
    );
  }));

Deno.test("with P4CACHE_LIST=1 whole trees are copied, packed and removed", () =>
  withDepot(async ({ dir, depot, sh }, daemon) => {
    const names = ["d/a", "d/b", "d/sub/x"];
    const evict = () => {
      for (const name of names) daemon.store.set(name, { content: `${name}\n` });
      Deno.mkdirSync(`${depot}/d/sub`, { recursive: true });
    };
    const programs: Record<string, string> = {
      cp: `cp -r d ${dir}/cp; cd ${dir}/cp; cat a b sub/x`,
      // Directories do change: what comes back is placed in them.
      tar:
        `tar --warning=no-file-changed -cf ../t.tar d || [ $? = 1 ]; cd ..; tar -xf t.tar; cd d; cat a b sub/x`,
      rsync: `rsync -r d/ ${dir}/rsync; cd ${dir}/rsync; cat a b sub/x`,
      python3:
        `python3 -c "import shutil; shutil.copytree('d', '${dir}/py')"; cd ${dir}/py; cat a b sub/x`,
      perl:
        `perl -e 'opendir D, "d"; print sort grep { /^[ab]$/ } readdir D'; echo; echo; cat d/sub/x`,
    };
    for (const [program, script] of Object.entries(programs)) {
      if (!hasProgram(program)) continue;
      evict();
      const expected = program === "perl" ? "ab\n\nd/sub/x\n" : "d/a\nd/b\nd/sub/x\n";
      assertEquals(await sh(script, depot, LISTING), expected, program);
      Deno.removeSync(`${depot}/d`, { recursive: true });
    }
    evict();
    assertEquals(await sh("rm -r d", depot, LISTING), "");
    assertEquals([...daemon.store.keys()], []);
    assertEquals([...Deno.readDirSync(depot)], []);
  }));

Deno.test("P3: a directory whose evicted files cannot be known is not listed", () =>
  withDepot(async ({ depot, env, play }, daemon) => {
    await daemon.stop();
    const soon = { ...LISTING, P4CACHE_TIMEOUT: "0.2" };
    assertEquals(await play("list", "readdir", `${depot}/d`, soon), "EIO");
    assertEquals(await play("list", "fdopendir", `${depot}/d`, soon), "EIO");
    await using old = new FakeDaemon(env["P4CACHE_SOCK"]!, depot, { old: "refuses" });
    old.store.set("d/a", { content: "a" });
    assertEquals(await play("list", "readdir", `${depot}/d`, soon), "EIO");
  }));
