/** P3, P6: odd answers, odd names, odd programs under the preload library. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { delay } from "deno-std/async/delay.js";
import { hasProgram, run } from "../e2e/daemon_process.ts";
import { FakeDaemon } from "./fake_daemon.ts";
import { withDepot } from "./fake_depot.ts";

Deno.test("P3: an answer of ERROR, however long, or of nonsense is EIO and is not remembered", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    const lines = ["ERROR backend is down", "ERROR " + "why ".repeat(500), "", "HELLO"];
    for (const [i, line] of lines.entries()) {
      daemon.store.set(`d/f${i}`, { line });
      for (const call of ["open", "stat", "open rdwr creat", "fopen a", "open excl creat"]) {
        assertEquals(await probe(call, `${depot}/d/f${i}`), "error EIO", `${call}: ${line}`);
      }
      daemon.store.set(`d/f${i}`, { content: "back" });
      assertEquals(await probe("open", `${depot}/d/f${i}`), "ok 4");
    }
  }));

Deno.test("P3: a daemon that says OK for a file that never comes is EIO, and nothing is created", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    daemon.store.set("d/f", { line: "OK 5" });
    for (const call of ["open", "stat", "open rdwr creat", "open append creat", "fopen a"]) {
      assertEquals(await probe(call, `${depot}/d/f`), "error EIO", call);
    }
    assertEquals([...Deno.readDirSync(`${depot}/d`)], []);
  }));

Deno.test("P4: a daemon that dies with the question in its hands is not seen when another comes", () =>
  withDepot(async ({ depot, env, probe }, daemon) => {
    for (const call of ["open", "stat", "open append creat"]) {
      daemon.store.set("d/f", { content: "", afterMs: 60_000 });
      const asking = probe(call, `${depot}/d/f`);
      while (!daemon.asked.includes("d/f")) await delay(2);
      await daemon.stop();
      await using next = new FakeDaemon(env.P4CACHE_SOCK!, depot);
      next.store.set("d/f", { content: "back" });
      assertEquals(await asking, "ok 4", call);
      Deno.removeSync(`${depot}/d/f`);
      await next.stop();
      daemon = new FakeDaemon(env.P4CACHE_SOCK!, depot);
    }
    await daemon.stop();
  }));

Deno.test("P3: an answer that breaks off is none, and the question is asked again", () =>
  withDepot(async ({ depot, env, probe }, daemon) => {
    await daemon.stop();
    const listener = Deno.listen({ transport: "unix", path: env.P4CACHE_SOCK! });
    const asking = probe("open", `${depot}/d/f`);
    const parts = ["", "N", "NOTFOUND", "OK 4", "ERROR no"];
    for (const part of [...parts, "OK 4\n"]) {
      using conn = await listener.accept();
      await conn.read(new Uint8Array(100));
      if (part.endsWith("\n")) Deno.writeTextFileSync(`${depot}/d/f`, "back");
      await conn.write(new TextEncoder().encode(part));
    }
    assertEquals(await asking, "ok 4");
    listener.close();
  }));

Deno.test("requests name the file plainly, whichever way it was reached", () =>
  withDepot(async ({ dir, depot, sh }, daemon) => {
    Deno.symlinkSync("d", `${depot}/link`);
    Deno.symlinkSync(`${depot}/d/e`, `${dir}/to-e`);
    Deno.symlinkSync("e", `${depot}/d/dangling`);
    const restore = (name: string) => {
      daemon.store.set(`d/${name}`, { content: `${name}\n` });
      daemon.asked.length = 0;
    };
    const ways = [
      [`cat ${depot}//d/./e`, dir],
      [`cat ${depot}/d/../d/e`, dir],
      ["cat e", `${depot}/d`],
      ["cat ../depot/d/e", depot],
      ["cat d/e", depot],
      ["cat link/e", depot],
      ["cat d/dangling", depot],
    ] as const;
    for (const [script, cwd] of ways) {
      restore("e");
      assertEquals(await sh(script, cwd), "e\n", script);
      assertEquals(daemon.asked, ["d/e"], script);
      Deno.removeSync(`${depot}/d/e`);
    }
  }));

Deno.test("an absent file below a symbolic link is absent", () =>
  withDepot(async ({ dir, depot, probe }, daemon) => {
    Deno.mkdirSync(`${dir}/elsewhere`);
    Deno.symlinkSync(`${dir}/elsewhere`, `${depot}/away`);
    Deno.symlinkSync("d", `${depot}/link`);
    assertEquals(await probe("open", `${depot}/away/none`), "error ENOENT");
    assertEquals(await probe("stat", `${depot}/link/none`), "error ENOENT");
    assertEquals(await probe("open rdwr creat", `${depot}/away/new`), "ok 0");
    assertEquals(daemon.asked, ["d/none"]);
  }));

Deno.test("a local file whose new name cannot be is not asked for", () =>
  withDepot(async ({ depot, sh }, daemon) => {
    Deno.writeTextFileSync(`${depot}/d/a`, "");
    const rename = `import os
try: os.rename("${depot}/d/a", "${depot}/missing/a")
except FileNotFoundError: print("absent")`;
    assertEquals(await sh(`python3 -c '${rename}'`), "absent\n");
    assertEquals(daemon.asked.filter((path) => path === "d/a"), []);
  }));

Deno.test("what cannot be evicted is not asked for", () =>
  withDepot(async ({ dir, depot, probe }, daemon) => {
    for (
      const name of [
        "d/a\nb",
        ".p4cache/x",
        "d/tmp.12.34",
        "d/tmp.12.34.5",
        "d/" + "x/".repeat(1000),
      ]
    ) {
      assertEquals(await probe("stat", `${depot}/${name}`), "error ENOENT", name);
    }
    assertEquals(await probe("open excl creat", `${depot}/d/tmp.1.2.3`), "ok 0");
    assertEquals(await probe("open trunc creat", `${depot}/d/new`), "ok 0");
    assertEquals(await probe("creat", `${depot}/d/newer`), "ok 0");
    assertEquals(await probe("open append creat", `${dir}/outside`), "ok 0");
    assertEquals(await probe("stat", `${depot}x/none`), "error ENOENT");
    assertEquals(await probe("open", ""), "error ENOENT");
    assertEquals(daemon.asked, []);
    assertEquals(await probe("stat", `${depot}/d/tmp.1.2.3.4`), "error ENOENT");
    assertEquals(daemon.asked, ["d/tmp.1.2.3.4"]);
  }));

Deno.test("an open that may create asks once, and creates only what is absent", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    for (const call of ["open rdwr creat", "open append creat", "open excl creat", "fopen a"]) {
      daemon.asked.length = 0;
      const name = `d/${call.replaceAll(" ", "-")}`;
      assertEquals(await probe(call, `${depot}/${name}`), "ok 0");
      assertEquals(daemon.asked, [name], call);
    }
  }));

Deno.test("every call refuses what the kernel refuses, with its errno, and succeeds without one", () =>
  withDepot(async ({ depot, env, play }) => {
    const dir = `${depot}/d`;
    const outputs: string[] = [];
    for (const preload of ["", env["LD_PRELOAD"]!]) {
      Deno.removeSync(dir, { recursive: true });
      Deno.mkdirSync(dir);
      Deno.writeTextFileSync(`${dir}/file`, "");
      Deno.symlinkSync("loop", `${dir}/loop`);
      Deno.symlinkSync("nowhere", `${dir}/dangling`);
      outputs.push(await play("faults", dir, "", { LD_PRELOAD: preload }));
    }
    assertEquals(outputs[1], outputs[0]);
    assertEquals(outputs[0]!.split("\n").length > 1000, true);
  }));

Deno.test("a path that cannot be read is EFAULT also where an open may create", () =>
  withDepot(async ({ depot, probe }) => {
    assertEquals(await probe("bad addresses", `${depot}/d/x`), "ok 3");
  }));

Deno.test("P3: without a free descriptor to ask by, a missing file is EIO", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    daemon.store.set("d/f", { content: "here" });
    assertEquals(await probe("no descriptor left", `${depot}/d/f`), "error EIO");
  }));

Deno.test("P3: the absence of a file is forgotten when one is renamed there", () =>
  withDepot(async ({ depot, probe }, daemon) => {
    const long = { P4CACHE_NEGATIVE_TTL: "600" };
    assertEquals(await probe("renamed there, evicted", `${depot}/d/f`, long), "ok 2");
    assertEquals(daemon.asked, ["d/f", "d/f"]);
  }));

Deno.test("appending to an evicted file keeps what was in it", () =>
  withDepot(async ({ depot, sh }, daemon) => {
    daemon.store.set("d/log", { content: "first\n" });
    assertEquals(await sh(`echo second >> ${depot}/d/log; cat ${depot}/d/log`), "first\nsecond\n");
    daemon.store.set("d/py", { content: "first\n" });
    if (!hasProgram("perl")) return;
    const script = `open(F, ">>", "${depot}/d/py") or die; print F "second\\n"; close F`;
    assertEquals(await sh(`perl -e '${script}'; cat ${depot}/d/py`), "first\nsecond\n");
  }));

Deno.test(
  "outside the depot the kernel's rules for creating hold (needs root and fs.protected_regular)",
  {
    ignore: Deno.uid() !== 0 || protectedRegular() === 0,
  },
  () =>
    withDepot(async ({ dir, sh }) => {
      // fs.protected_regular: root may not O_CREAT somebody else's file in a sticky directory.
      Deno.chmodSync(dir, 0o755);
      Deno.mkdirSync(`${dir}/sticky`);
      Deno.chmodSync(`${dir}/sticky`, 0o1777);
      Deno.writeTextFileSync(`${dir}/sticky/f`, "");
      Deno.chownSync(`${dir}/sticky/f`, 65534, 65534);
      Deno.chmodSync(`${dir}/sticky/f`, 0o666);
      const out = await sh(`echo x >> ${dir}/sticky/f || true`);
      assert(out.includes("Permission denied") || out.includes("cannot create"), out);
    }),
);

function protectedRegular(): number {
  return Number(Deno.readTextFileSync("/proc/sys/fs/protected_regular"));
}

Deno.test("absence is forgotten when the daemon is another", () =>
  withDepot(async ({ dir, depot, env }, daemon) => {
    const ready = `${dir}/ready`, go = `${dir}/go`;
    const script = `import os, time
def there():
    try: return os.stat("${depot}/d/f").st_size
    except FileNotFoundError: return -1
first = there()
open("${ready}", "w").close()
while not os.path.exists("${go}"): time.sleep(0.01)
print(first, there())`;
    const running = run("python3", ["-c", script], {
      env: { ...env, P4CACHE_NEGATIVE_TTL: "600" },
    });
    while (!exists(ready)) await new Promise((resolve) => setTimeout(resolve, 10));
    assertEquals(daemon.asked, ["d/f"]);
    await daemon.stop();
    await using next = new FakeDaemon(env["P4CACHE_SOCK"]!, depot);
    next.store.set("d/f", { content: "here" });
    // The shim looks at the socket ten times a second at most.
    await new Promise((resolve) => setTimeout(resolve, 200));
    Deno.writeTextFileSync(go, "");
    assertEquals((await running).stdout, "-1 4\n");
  }));

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("accesses are noted by plain names, also relative ones and before another program starts", () =>
  withDepot(async ({ dir, depot, env, sh }) => {
    const receiver = Deno.listenDatagram({
      transport: "unixpacket",
      path: env["P4CACHE_ACCESS_SOCK"]!,
    });
    try {
      for (const name of ["a", "b", "b\nd/c"]) {
        Deno.mkdirSync(`${depot}/d/${name}`.replace(/[^/]*$/, ""), { recursive: true });
        Deno.writeTextFileSync(`${depot}/d/${name}`, `${name}\n`);
      }
      const noted = async (script: string, cwd?: string) => {
        await sh(script, cwd);
        // Without any open there is nothing to receive: the end is marked by hand.
        await sh(`printf end | socat - UNIX-SENDTO:"$P4CACHE_ACCESS_SOCK"`);
        let all = "";
        for (;;) {
          const [datagram] = await receiver.receive();
          const text = new TextDecoder().decode(datagram);
          if (text === "end") return all;
          all += text;
        }
      };
      assertEquals(await noted(`exec cat ${depot}/d/../d//a`), "d/a\n");
      assertEquals(await noted("exec cat a", `${depot}/d`), "d/a\n");
      assertEquals(await noted("exec cat d/b d/a", depot), "d/b\nd/a\n");
      assertEquals(await noted(`cd ${depot}/d; exec cat < b`), "d/b\n");
      // From above, as p4d opens them when the depot lies below its root; and from beside it.
      assertEquals(await noted("exec cat depot/d/a depot/d/../d/b", dir), "d/a\nd/b\n");
      assertEquals(await noted(`exec cat ${depot.slice(1)}/d/a`, "/"), "d/a\n");
      Deno.mkdirSync(`${dir}/depot.old/d`, { recursive: true });
      Deno.writeTextFileSync(`${dir}/depot.old/d/a`, "not the depot's\n");
      assertEquals(await noted("exec cat depot.old/d/a", dir), "");
      assertEquals(await noted(`exec cat ../depot/d/a`, depot), "d/a\n");
      // A newline would split the name in two: such a file is never asked for either.
      assertEquals(await noted(`exec cat "d/b\nd/c" d/a`, depot), "d/a\n");
    } finally {
      receiver.close();
    }
  }));
