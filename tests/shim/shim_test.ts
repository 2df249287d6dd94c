/** Each call that reaches a file by its name, under the preload library. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { DaemonProcess, hasProgram, run, SHIM, shimEnv, TempDir } from "../e2e/daemon_process.ts";

const SOURCE = new URL("./c/probe.c", import.meta.url).pathname;
const CONTENT = "head 1.1;\nthe content of an evicted file\n";
const SIZE = String(CONTENT.length);

/** A replica's depot: everything is in the store, nothing is local, no capability needed. */
interface Replica {
  readonly dir: string;
  readonly depot: string;
  readonly store: string;
  readonly args: readonly string[];
  /** Puts one more evicted file; returns its path in the depot. */
  evicted(name: string): string;
  /** Runs the probe on a path under the shim. */
  probe(call: string, path: string, env?: Record<string, string>): Promise<string>;
}

async function withReplica(
  test: (replica: Replica, daemon: DaemonProcess) => Promise<void>,
): Promise<void> {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`, store = `${dir.path}/store`, probe = `${dir.path}/probe`;
  for (const path of [depot, store, `${depot}/d`, `${store}/d`]) Deno.mkdirSync(path);
  const built = await run("gcc", ["-std=gnu11", "-w", "-o", probe, SOURCE, "-lpthread"]);
  assertEquals(built.code, 0, built.stderr);
  const args = ["--read-only", "--primary-type", "nfs", "--primary-path", store];
  const replica: Replica = {
    dir: dir.path,
    depot,
    store,
    args,
    evicted: (name) => {
      Deno.writeTextFileSync(`${store}/${name}`, CONTENT);
      return `${depot}/${name}`;
    },
    probe: async (call, path, env = {}) => {
      const outcome = await run(probe, [call, path], { env: { ...shimEnv(depot), ...env } });
      return outcome.stdout.trim() || `ended with ${outcome.code}: ${outcome.stderr}`;
    },
  };
  await using daemon = await DaemonProcess.start(depot, args);
  await test(replica, daemon);
}

/** Calls that read all of the file or tell its size. */
const SIZED = [
  ["open", "open64", "openat", "openat64", "__open_2", "__open64_2", "__openat_2", "__openat64_2"],
  ["__open", "__open64", "fchdir"],
  ["open rdwr", "open append", "open rdwr creat", "open append creat"],
  ["fopen r", "fopen64 r+", "fopen a", "fopen a+", "freopen", "freopen64"],
  [
    "stat",
    "stat64",
    "lstat",
    "fstatat",
    "statx",
    "syscall statx",
    "__xstat",
    "__lxstat",
    "__fxstatat",
  ],
  ["lstat64", "fstatat64", "__xstat64", "__lxstat64", "__fxstatat64"],
  ["rename", "renameat", "renameat2", "link", "linkat", "exchange"],
  ["relative", "relative stat", "dirfd", "dots"],
].flat();

/** What the others print on an evicted file. */
const OTHERS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    [
      ["access", "faccessat", "euidaccess", "eaccess", "readlink", "readlinkat", "realpath"],
      ["canonicalize_file_name", "chmod", "fchmodat", "chown", "lchown", "fchownat"],
      ["utime", "utimes", "lutimes", "futimesat", "utimensat", "statvfs", "statfs", "pathconf"],
      ["statvfs64", "statfs64", "__readlink_chk", "__readlinkat_chk", "__realpath_chk", "lchmod"],
      ["getxattr", "listxattr", "lgetxattr", "llistxattr"],
      ["setxattr", "lsetxattr", "removexattr", "lremovexattr"],
      ["execvpe", "posix_spawnp", "_Exit", "fexecve", "creat64"],
    ].flat().map((call) => [call, "ok 0"]),
  ),
  "truncate": "ok 3",
  "truncate64": "ok 3",
  "mkdir": "error EEXIST",
  "mkdirat": "error EEXIST",
  "mkfifo": "error EEXIST",
  "mkfifoat": "error EEXIST",
  "symlink": "error EEXIST",
  "symlinkat": "error EEXIST",
  "link over": "error EEXIST",
  "linkat over": "error EEXIST",
  "noreplace over": "error EEXIST",
  "fopen w": "ok 0",
  "fopen wx": "error EEXIST",
  "rename over": "ok 0",
  "unlink": "error EROFS",
  "open trunc creat": "ok 0",
  "creat": "ok 0",
  "open excl creat": "error EEXIST",
  "threads": "ok 0",
  "quiet errno": "ok 77",
};

Deno.test("every call sees an evicted file as if it were there", () =>
  withReplica(async ({ evicted, probe }) => {
    const expected = {
      ...OTHERS,
      ...Object.fromEntries(SIZED.map((call) => [call, `ok ${SIZE}`])),
    };
    let i = 0;
    for (const [call, result] of Object.entries(expected)) {
      assertEquals(await probe(call, evicted(`d/f${i++}`)), result, call);
    }
  }));

Deno.test("every call says ENOENT for a file that is nowhere, and creates where it may", () =>
  withReplica(async ({ depot, probe }) => {
    const creating = new Set(["open rdwr creat", "open append creat", "fopen a", "fopen a+"]);
    let i = 0;
    for (const call of SIZED) {
      const result = creating.has(call) ? "ok 0" : "error ENOENT";
      assertEquals(await probe(call, `${depot}/d/none${i++}`), result, call);
    }
    assertEquals(await probe("open excl creat", `${depot}/d/new`), "ok 0");
    assertEquals(await probe("bad pointer", `${depot}/d/x`), "ok 3");
  }));

Deno.test("a depot known by a symbolic link is the depot under both names", () =>
  withReplica(async ({ dir, depot, evicted, probe }) => {
    Deno.symlinkSync(depot, `${dir}/link`);
    const env = { P4CACHE_DEPOT: `${dir}/link` };
    evicted("d/a");
    assertEquals(await probe("open", `${dir}/link/d/a`, env), `ok ${SIZE}`);
    assertEquals(await probe("open", evicted("d/b"), env), `ok ${SIZE}`);
  }));

Deno.test("outside the depot, and without P4CACHE_DEPOT, nothing is asked", () =>
  withReplica(async ({ dir, evicted, probe }, daemon) => {
    await daemon.kill(); // whoever asks now gets EIO
    const soon = { P4CACHE_TIMEOUT: "0.1" };
    assertEquals(await probe("open", `${dir}/outside`, soon), "error ENOENT");
    assertEquals(await probe("open", evicted("d/a"), { P4CACHE_DEPOT: "" }), "error ENOENT");
  }));

Deno.test("P3: without the daemon a missing file is EIO, and found when the daemon is back", () =>
  withReplica(async ({ depot, evicted, probe, args }, daemon) => {
    await daemon.kill();
    const soon = { P4CACHE_TIMEOUT: "0.3" };
    const path = evicted("d/a");
    assertEquals(await probe("open", path, soon), "error EIO");
    assertEquals(await probe("stat", path, soon), "error EIO");
    assertEquals(await probe("open append creat", path, soon), "error EIO");
    // A restart in the middle of the wait is not seen at all.
    const waiting = probe("open", path, { P4CACHE_TIMEOUT: "30" });
    await using _back = await DaemonProcess.start(depot, args);
    assertEquals(await waiting, `ok ${SIZE}`);
  }));

Deno.test("P3: a backend that is gone gives EIO, never ENOENT", () =>
  withReplica(async ({ store, depot, evicted, probe }) => {
    // As when a mount is lost: the directory is there no more, and what it held cannot be told.
    Deno.renameSync(store, `${store}.away`);
    assertEquals(await probe("open", `${depot}/d/a`), "error EIO");
    Deno.renameSync(`${store}.away`, store);
    assertEquals(await probe("open", evicted("d/a")), `ok ${SIZE}`);
  }));

/** Scripts that print the file $F; $D/$N are its directory and name, $G is free for a copy. */
const PROGRAMS: Readonly<Record<string, string>> = {
  cat: "cat $F",
  head: "head -c 4096 $F",
  dd: "dd if=$F status=none",
  cp: "cp $F $G && cat $G",
  mv: "mv $F $G && cat $G",
  tar: "tar -C $D -cf - $N | tar -xOf -",
  gzip: "gzip -c $F | gzip -dc",
  rsync: "rsync $F $G && cat $G",
  sh: "cat < $F",
  test: "test -f $F && cat $F",
  find: "find $F -size +0 -exec cat {} ';'",
  python3:
    `python3 -c "import os,sys; f=os.environ['F']; os.stat(f); sys.stdout.write(open(f).read())"`,
  perl: `perl -e 'open(F, "<", $ENV{F}) or die $!; print <F>'`,
  node: `node -e 'process.stdout.write(require("fs").readFileSync(process.env.F))'`,
};

Deno.test("ordinary programs read an evicted file", async (t) => {
  await withReplica(async ({ dir, depot, evicted }) => {
    for (const [program, script] of Object.entries(PROGRAMS)) {
      const F = evicted(`d/${program}`);
      const env = { ...shimEnv(depot), F, G: `${dir}/copy`, D: `${depot}/d`, N: program };
      await t.step({
        name: program,
        ignore: !hasProgram(program) && !["test", "sh"].includes(program),
        fn: async () => {
          const out = await run("sh", ["-ec", script], { env });
          assertEquals(out.stdout, CONTENT, out.stderr);
        },
      });
    }
  });
});

Deno.test("what a process opens is counted as an access, to its last file", () =>
  withReplica(async ({ dir, depot, evicted }) => {
    // The first name goes at once, the second waits for others.
    const paths = [evicted("d/a"), evicted("d/b")];
    const log = `${dir}/access`;
    const receiver = Deno.listenDatagram({ transport: "unixpacket", path: log });
    const sender = Deno.listenDatagram({ transport: "unixpacket", path: `${dir}/sender` });
    try {
      const env = { ...shimEnv(depot), P4CACHE_ACCESS_SOCK: log };
      assertEquals((await run("cat", paths, { env })).stdout, CONTENT + CONTENT);
      await sender.send(new TextEncoder().encode("end\n"), { transport: "unixpacket", path: log });
      let text = "";
      while (!text.endsWith("end\n")) {
        text += new TextDecoder().decode((await receiver.receive())[0]);
      }
      assertEquals(text, "d/a\nd/b\nend\n");
    } finally {
      sender.close();
      receiver.close();
    }
  }));

Deno.test("an absent file asked for again and again is asked of the daemon once", () =>
  withReplica(async ({ dir, depot }) => {
    let asked = 0;
    const socket = `${dir}/counting.sock`;
    const listener = Deno.listen({ transport: "unix", path: socket });
    const counting = (async () => {
      for await (const conn of listener) {
        const buffer = new Uint8Array(256);
        const n = await conn.read(buffer);
        if (new TextDecoder().decode(buffer.subarray(0, n ?? 0)) === "FETCH d/none\n") asked++;
        await conn.write(new TextEncoder().encode("NOTFOUND\n"));
        conn.close();
      }
    })();
    const loop = `import os
for i in range(1000):
    try: os.stat("${depot}/d/none")
    except FileNotFoundError: pass`;
    const env = { ...shimEnv(depot), P4CACHE_SOCK: socket, P4CACHE_NEGATIVE_TTL: "60" };
    assertEquals((await run("python3", ["-c", loop], { env })).code, 0);
    assertEquals(asked, 1);
    // Remembered for no time, it is asked each time.
    const never = { ...env, P4CACHE_NEGATIVE_TTL: "0" };
    assertEquals((await run("python3", ["-c", loop], { env: never })).code, 0);
    assertEquals(asked, 1001);
    listener.close();
    await counting;
  }));

Deno.test("each name that is visible is called by a program of these tests", async () => {
  const map = Deno.readTextFileSync(new URL("../../shim/preload/exports.map", import.meta.url));
  let programs = "";
  for (const { name } of Deno.readDirSync(new URL("./c", import.meta.url))) {
    programs += await Deno.readTextFile(new URL(`./c/${name}`, import.meta.url));
  }
  const names = Array.from(map.matchAll(/(\w+);/g), ([, name]) => name!);
  assertEquals(names.filter((name) => !new RegExp(`\\b${name}\\(`).test(programs)), []);
});

Deno.test("exactly the names in the list are visible, and glibc 2.31 has all that is needed", async () => {
  const defined = await run("nm", ["-D", "--defined-only", SHIM]);
  const names = defined.stdout.trim().split("\n").map((line) => line.split(" ").at(-1)!).sort();
  const map = new URL("../../shim/preload/exports.map", import.meta.url);
  const listed = Deno.readTextFileSync(map).match(/[a-zA-Z0-9_]+(?=;)/g)!;
  assertEquals(names, listed.sort());
  const needed = (await run("nm", ["-D", "--undefined-only", SHIM])).stdout;
  const minors = Array.from(needed.matchAll(/@GLIBC_2\.(\d+)/g), ([, minor]) => Number(minor));
  assertEquals(minors.length > 0, true);
  assertEquals(minors.filter((minor) => minor > 31), []);
  // Each library more that it needs would cost the start of every program.
  const dynamic = (await run("readelf", ["-d", SHIM])).stdout;
  const libraries = Array.from(dynamic.matchAll(/NEEDED.*\[(.*)\]/g), ([, name]) => name);
  assertEquals(libraries, ["libc.so.6"]);
});
