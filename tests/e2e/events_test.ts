/**
 * Every way a file comes to be, told by the kernel or not: afterwards the store holds it.
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
if (ignore) console.log("tests of the ways files come to be are skipped: they need CAP_SYS_ADMIN");

class Place {
  readonly depot: string;
  readonly store: string;

  constructor(readonly dir: string) {
    this.depot = `${dir}/depot`;
    this.store = `${dir}/store`;
    Deno.mkdirSync(this.depot);
    Deno.mkdirSync(this.store);
  }

  start(config: object = {}): Promise<DaemonProcess> {
    Deno.writeTextFileSync(`${this.dir}/config.json`, JSON.stringify(config));
    const args = ["--config", `${this.dir}/config.json`];
    args.push("--primary-type", "nfs", "--primary-path", this.store);
    return DaemonProcess.start(this.depot, args);
  }

  /** Runs a script (python3) in the depot. */
  async python(script: string): Promise<void> {
    const { code, stderr } = await run("python3", ["-c", script], { cwd: this.depot });
    assertEquals(code, 0, stderr);
  }

  async status(): Promise<{ files: { total: number; dirty: number } }> {
    const env = { P4CACHE_DEPOT: this.depot };
    return JSON.parse((await run(BINARY, ["status", "--json"], { env })).stdout);
  }

  /** Waits until the store holds exactly what the depot does, less what is never cached. */
  async stored(): Promise<void> {
    const differing = () => {
      const local = filesBelow(this.depot), stored = filesBelow(this.store);
      return [...local].filter(([name, bytes]) =>
        !Deno.lstatSync(`${this.depot}/${name}`).isSymlink && !same(bytes, stored.get(name))
      ).map(([name]) => name);
    };
    await until("the store holds what the depot does", () => differing().length === 0)
      .catch((error) => {
        throw new Error(`${error.message}: ${differing().slice(0, 5)}`);
      });
  }
}

const same = (a: Uint8Array, b: Uint8Array | undefined) =>
  b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);

function eventTest(name: string, test: (place: Place) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    fn: async () => {
      using dir = new TempDir();
      await test(new Place(dir.path));
    },
  });
}

eventTest(
  "500 renames at once, links, nameless, sparse and empty files are all stored",
  async (p) => {
    await using daemon = await p.start();
    await p.python(`
import ctypes, os
os.mkdir("d")
for i in range(500): open("tmp.1.2.%d" % i, "w").write("content %d" % i)
for i in range(500): os.rename("tmp.1.2.%d" % i, "d/f%d,v" % i)
open("a", "w").write("linked"); os.link("a", "b")
fd = os.open(".", os.O_TMPFILE | os.O_WRONLY); os.write(fd, b"nameless")
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400
name = b"/proc/self/fd/%d" % fd
assert ctypes.CDLL(None).linkat(AT_FDCWD, name, AT_FDCWD, b"n", AT_SYMLINK_FOLLOW) == 0
os.close(fd)
with open("sparse", "wb") as f: f.seek(3 << 20); f.write(b"end")
open("empty", "w").close()
os.symlink("a", "link"); os.mkfifo("fifo")
`);
    await until("all is noticed", async () => (await p.status()).files.total === 505);
    Deno.removeSync(`${p.depot}/fifo`); // reading it would wait
    await p.stored();
    assert(!filesBelow(p.store).has("link"));
    assertEquals([...filesBelow(p.store).keys()].filter((name) => name.includes("tmp.")), []);
    assertEquals(await daemon.stop(), 0);
  },
);

eventTest("a temporary name that becomes a file's name hours later is stored then", async (p) => {
  await using daemon = await p.start();
  await p.python(`open("tmp.7.8.9", "w").write("late")`);
  await new Promise((resolve) => setTimeout(resolve, 500));
  assertEquals((await p.status()).files.total, 0);
  assertEquals(await daemon.stop(), 0);
  await using second = await p.start();
  await p.python(`import os; os.rename("tmp.7.8.9", "late,v")`);
  await p.stored();
  assertEquals(await second.stop(), 0);
});

eventTest("what the kernel does not tell is found by the comparison", async (p) => {
  await using daemon = await p.start({ reconcile_interval: 1 });
  await p.python(`
for n in ("cut", "mapped"): open(n, "w").write("x" * 10000)`);
  await p.stored();
  await p.python(`
import mmap, os, time
f = open("mapped", "r+b"); m = mmap.mmap(f.fileno(), 0); f.close()
time.sleep(0.5)
m[0:5] = b"later"; m.flush()
os.truncate("cut", 10)
time.sleep(0.5)
m.close()`);
  await p.stored();
  assertEquals(await daemon.stop(), 0);
});

eventTest(
  "files created, changed, replaced, renamed while the daemon was down are stored",
  async (p) => {
    {
      await using daemon = await p.start();
      await p.python(`
import os
os.mkdir("d")
for n in ("same", "replaced", "moved", "gone", "d/x"): open(n, "w").write("old " + n)`);
      await p.stored();
      await daemon.kill();
    }
    await p.python(`
import os
s = os.stat("same")
with open("same", "r+") as f: f.write("NEW same")
assert os.stat("same").st_size == s.st_size
open("other", "w").write("new content"); os.rename("other", "replaced")
os.rename("moved", "moved2"); os.unlink("gone"); os.rename("d", "e")
open("created", "w").write("created")`);
    await using daemon = await p.start();
    await p.stored();
    await until("the rows follow", async () => (await p.status()).files.total === 5);
    assertEquals(await daemon.stop(), 0);
  },
);

eventTest(
  "50,000 files written while the daemon is stopped are all noticed when it goes on",
  async (p) => {
    await using daemon = await p.start({ upload_concurrency: 1 });
    Deno.kill(daemon.pid, "SIGSTOP");
    try {
      await p.python(`
import os
for d in range(100):
  os.mkdir("s%d" % d)
  for i in range(500): open("s%d/f%d" % (d, i), "w").write("x")`);
    } finally {
      Deno.kill(daemon.pid, "SIGCONT");
    }
    await until("all are noticed", async () => (await p.status()).files.total === 50_000);
  },
);
