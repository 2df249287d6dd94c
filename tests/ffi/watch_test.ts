/** What the watcher tells of what programs do, and in which order. @module */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { delay } from "deno-std/async/delay.js";
import { Watcher, type WatchRecord } from "../../ffi/watch.ts";
import { TempDir } from "../e2e/daemon_process.ts";

/** Whether this process may use fanotify with a filesystem mark. */
function mayWatch(): boolean {
  const effective = /CapEff:\s*([0-9a-f]+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]!;
  const CAP_SYS_ADMIN = 21n;
  return (BigInt("0x" + effective) >> CAP_SYS_ADMIN & 1n) === 1n;
}

const ignore = !mayWatch();
if (ignore) console.log("watch tests skipped: they need CAP_SYS_ADMIN");

/** Runs `script` (sh) in another process; its directory is the depot. */
async function sh(dir: string, script: string): Promise<void> {
  const { success, stderr } = await new Deno.Command("sh", { args: ["-ec", script], cwd: dir })
    .output();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}

class Depot {
  readonly seen = new Map<string, WatchRecord>();
  readonly all: WatchRecord[] = [];
  #barrier = 1;
  constructor(readonly dir: string, readonly watcher: Watcher) {}

  /** Runs the script and takes in every record up to a barrier after it. */
  async after(script: string): Promise<string[]> {
    await sh(this.dir, script);
    return await this.untilBarrier();
  }

  async untilBarrier(): Promise<string[]> {
    const id = this.#barrier++;
    this.watcher.barrier(id);
    const found: string[] = [];
    for (;;) {
      const records = await this.watcher.next();
      for (const record of records) {
        const to = record.to === undefined ? "" : ` to ${record.to}`;
        if (record.kind !== "barrier") found.push(`${record.kind} ${record.path}${to}`);
        this.all.push(record);
        this.seen.set(record.path, record);
      }
      if (records.some((r) => r.kind === "barrier" && r.id === id)) return found.sort();
    }
  }
}

async function withDepot(test: (depot: Depot) => Promise<void>): Promise<void> {
  using dir = new TempDir();
  const watcher = Watcher.open(dir.path);
  try {
    await test(new Depot(dir.path, watcher));
  } finally {
    watcher.stop();
    assertEquals(await watcher.next(), []);
    watcher.close();
  }
}

function watchTest(name: string, test: (depot: Depot) => Promise<void>): void {
  Deno.test({ name, ignore, fn: () => withDepot(test) });
}

watchTest("a written file is seen once, with what it is", async (depot) => {
  assertEquals(await depot.after("printf hello > a; printf world >> a"), ["changed a"]);
  assertEquals(depot.seen.get("a")!.size, 10);
});

watchTest("a temporary name and a rename are seen as one gone, one changed", async (depot) => {
  const found = await depot.after("echo x > tmp.1.2.3; mv tmp.1.2.3 a,v");
  assertEquals(found, ["changed a,v", "gone tmp.1.2.3"]);
  assertEquals(depot.seen.get("a,v")!.id, 1, "one was renamed to it");
  await depot.after("echo y > a,v");
  assertEquals(depot.seen.get("a,v")!.id, 0);
});

watchTest("files in directories made a moment ago are seen", async (depot) => {
  assertEquals(await depot.after("mkdir -p d/e/f; echo 1 > d/e/f/x"), ["changed d/e/f/x"]);
  assertEquals(await depot.after("mkdir d/e/g; echo 1 > d/e/g/y; rm d/e/f/x"), [
    "changed d/e/g/y",
    "gone d/e/f/x",
  ]);
});

watchTest("directories that were there before are known", async (depot) => {
  // Made before the first read: the table of directories is learned then.
  assertEquals((await depot.after("mkdir -p p/q; echo 1 > p/q/x")).includes("changed p/q/x"), true);
});

watchTest(
  "a renamed directory is told as gone and come, and files in it by the new name",
  async (d) => {
    await d.after("mkdir -p a/b; echo 1 > a/b/x");
    assertEquals(await d.after("mv a c"), ["renamed a to c", "tree c", "treeGone a"]);
    assertEquals(await d.after("echo 2 > c/b/x"), ["changed c/b/x"]);
    assertEquals(await d.after("mkdir a; echo 3 > a/y; mv c/b a/b; echo 4 > a/b/x"), [
      "changed a/b/x",
      "changed a/y",
      "renamed c/b to a/b",
      "tree a/b",
      "treeGone c/b",
    ]);
  },
);

watchTest("every rename of a directory is told, in order, to and fro too", async (depot) => {
  await depot.after("mkdir -p a/b; echo 1 > a/b/x");
  depot.all.length = 0;
  await depot.after("mv a c; mv c a; mv a c; mv c/b c/d");
  const renames = depot.all.filter((record) => record.kind === "renamed")
    .map((record) => `${record.path} ${record.to}`);
  assertEquals(renames, ["a c", "c a", "a c", "c/b c/d"]);
});

watchTest("two directories that change places are two renames", async (depot) => {
  await depot.after("mkdir a b; echo 1 > a/x; echo 2 > b/x");
  const exchange = "import ctypes, os; l = ctypes.CDLL(None, use_errno=True); " +
    "assert l.renameat2(-100, b'a', -100, b'b', 2) == 0";
  const found = await depot.after(`python3 -c "${exchange}"`);
  assertEquals(found, [
    "renamed a to b",
    "renamed b to a",
    "tree a",
    "tree b",
    "treeGone a",
    "treeGone b",
  ]);
  assertEquals(await depot.after("echo 3 > a/x"), ["changed a/x"]);
});

watchTest("a directory moved in from outside is a tree, moved out a tree gone", async (depot) => {
  const outside = `${depot.dir}.outside`;
  try {
    await sh("/", `mkdir -p ${outside}/t/u; echo 1 > ${outside}/t/u/x`);
    await depot.after("true"); // what is in the depot now is known
    assertEquals(await depot.after(`mv ${outside}/t t`), ["tree t"]);
    assertEquals(await depot.after("echo 2 > t/u/x"), ["changed t/u/x"]);
    assertEquals(await depot.after(`mv t ${outside}/t; echo 3 > ${outside}/t/u/x`), ["treeGone t"]);
  } finally {
    Deno.removeSync(outside, { recursive: true });
  }
});

watchTest(
  "hard links, nameless files that get a name, and changed modes are seen",
  async (depot) => {
    await depot.after("echo 1 > a");
    assertEquals(await depot.after("ln a b"), ["changed b"]);
    assertEquals(await depot.after("chmod 400 a"), ["changed a"]);
    const script = `
import os
fd = os.open(".", os.O_TMPFILE | os.O_WRONLY)
os.write(fd, b"x")
os.link("/proc/self/fd/%d" % fd, "n", follow_symlinks=True)`;
    const found = await depot.after(`python3 -c '${script}' 2>/dev/null || ln a n`);
    // Some filesystems name a nameless file in its events: "#" and its inode.
    assertEquals(found.filter((record) => !/^gone #\d+$/.test(record)), ["changed n"]);
  },
);

watchTest(
  "writes through a bind mount and from another mount namespace are seen",
  async (depot) => {
    const other = `${depot.dir}.bind`;
    await sh("/", `mkdir ${other}`);
    try {
      const found = await depot.after(
        `mkdir d; unshare -m sh -ec 'mount --bind ${depot.dir} ${other}; echo 1 > ${other}/d/x'`,
      );
      assertEquals(found, ["changed d/x"]);
    } finally {
      Deno.removeSync(other, { recursive: true });
    }
  },
);

watchTest("our own writes and the state directory are left out", async (depot) => {
  Deno.writeTextFileSync(`${depot.dir}/own`, "x");
  assertEquals(await depot.after("mkdir .p4cache; echo 1 > .p4cache/x; echo 1 > y"), ["changed y"]);
  Deno.mkdirSync(`${depot.dir}/owndir`);
  assertEquals(await depot.after("echo 1 > owndir/z"), ["changed owndir/z"]);
});

watchTest(
  "what others write among many renames of our own is told, and barriers come",
  async (depot) => {
    const expected: string[] = [], found: string[] = [];
    for (let round = 0; round < 5; round++) {
      const ours = async () => {
        for (let i = 0; i < 200; i++) {
          Deno.writeTextFileSync(`${depot.dir}/own`, "x");
          Deno.renameSync(`${depot.dir}/own`, `${depot.dir}/moved`);
          if (i % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
        }
      };
      const [told] = await Promise.all([depot.after(`echo 1 > other${round}`), ours()]);
      expected.push(`changed other${round}`);
      found.push(...told);
    }
    assertEquals(found, expected);
  },
);

watchTest("names that are not valid UTF-8 are told byte for byte", async (depot) => {
  const found = await depot.after(`touch "$(printf 'a\\377b')" "$(printf 'n\\nl')"`);
  assertEquals(found, ["changed a\xffb", "changed n\nl"]);
});

watchTest("20,000 files written at full speed in new directories all arrive", async (depot) => {
  const script = `i=0; while [ $i -lt 200 ]; do mkdir -p s/$i; (cd s/$i; for j in $(seq 100); do
    echo $i > $j; done); i=$((i+1)); done`;
  const [, found] = await Promise.all([sh(depot.dir, script), collect(depot, 20_000)]);
  assertEquals(found.size, 20_000);
  for (let i = 0; i < 200; i++) assert(found.has(`s/${i}/100`), `s/${i}/100 is missing`);
});

async function collect(depot: Depot, count: number): Promise<Set<string>> {
  const found = new Set<string>();
  while (found.size < count) {
    for (const record of await depot.watcher.next()) {
      assert(record.kind !== "reconcile", "events were lost");
      if (record.kind === "changed") found.add(record.path);
    }
  }
  return found;
}

watchTest("a barrier comes after every event before it, under load", async (depot) => {
  await depot.after("mkdir d");
  const load = new Deno.Command("sh", {
    args: ["-c", "while :; do echo x > d/load.$((i=i+1)); [ $i -lt 3000 ] || break; done"],
    cwd: depot.dir,
  }).spawn();
  for (let i = 0; i < 20; i++) {
    const found = await depot.after(`echo 1 > d/mark${i}`);
    assert(found.includes(`changed d/mark${i}`), `mark${i} came after its barrier`);
  }
  await load.status;
});

watchTest("a barrier comes after more events than are gathered at once", async (depot) => {
  const found = await depot.after("i=0; while [ $i -lt 5000 ]; do : > f$i; i=$((i+1)); done");
  assertEquals(found.length, 5000);
});

watchTest("what is gone tells whether it was removed, or only closed late", async (depot) => {
  await depot.after("echo 1 > removed; echo 2 > moved; rm removed; mv moved there");
  assertEquals([depot.seen.get("removed")!.kind, depot.seen.get("removed")!.size], ["gone", 1]);
  assertEquals([depot.seen.get("moved")!.kind, depot.seen.get("moved")!.size], ["gone", 1]);
  await depot.after("mv there moved");
  assertEquals([depot.seen.get("moved")!.kind, depot.seen.get("moved")!.size], ["changed", 2]);
  // Replaced while it is open, its successor taken away by us, and only then closed.
  const late = new Deno.Command("sh", {
    args: ["-ec", "exec 3> late; echo new > new; mv new late; read go; echo x >&3"],
    cwd: depot.dir,
    stdin: "piped",
  }).spawn();
  while (!await isFile(`${depot.dir}/late`) || await isFile(`${depot.dir}/new`)) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await new Promise((resolve) => setTimeout(resolve, 50));
  await depot.untilBarrier();
  Deno.removeSync(`${depot.dir}/late`);
  const input = late.stdin.getWriter();
  await input.write(new TextEncoder().encode("go\n"));
  await input.close();
  await late.status;
  await depot.untilBarrier();
  assertEquals([depot.seen.get("late")!.kind, depot.seen.get("late")!.size], ["gone", 0]);
});

async function isFile(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

watchTest(
  "it is quiet only when what happened was told, and dealt with",
  async ({ dir, watcher }) => {
    assert(!watcher.isQuiet(), "the directories are not known yet");
    let told = watcher.next();
    // The file's creation may have been told before its close, which is to be dealt with then.
    const dealWithMore = async () => {
      while (!watcher.isQuiet()) {
        const isTold = await Promise.race([told.then(() => true), delay(1).then(() => false)]);
        if (isTold) told = watcher.next();
      }
    };
    // What others do on the filesystem is in the queue, too, and could hide one wrong answer.
    for (let round = 0; round < 50; round++) {
      await dealWithMore();
      await sh(dir, `echo 1 > f${round}`);
      // In the kernel's queue, gathered for a moment, or told: not yet dealt with.
      assert(!watcher.isQuiet());
      assertEquals((await told).map((record) => record.path), [`f${round}`]);
      assert(!watcher.isQuiet());
      told = watcher.next();
    }
    await dealWithMore();
    watcher.barrier(1);
    assertEquals((await told).map((record) => record.kind), ["barrier"]);
  },
);

watchTest("when it is quiet, every write before that was told", async ({ dir, watcher }) => {
  const told = new Set<string>();
  const reading = (async () => {
    for (let isOver = false; !isOver;) {
      for (const record of await watcher.next()) {
        if (record.kind === "barrier") isOver = true;
        else told.add(record.path);
      }
    }
  })();
  const writer = new Deno.Command("sh", {
    args: ["-c", "while read name; do echo x > $name; echo; done"],
    cwd: dir,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const input = writer.stdin.getWriter(), output = writer.stdout.getReader();
  for (let i = 0; i < 500; i++) {
    await input.write(new TextEncoder().encode(`f${i}\n`));
    await output.read(); // it is written and closed
    await becomesQuiet(watcher);
    assert(told.has(`f${i}`), `f${i} was not told`);
  }
  await input.close();
  await output.cancel();
  await writer.status;
  watcher.barrier(1);
  await reading;
});

watchTest(
  "P1: the time until which all is told goes on only when it was dealt with",
  async (depot) => {
    const { dir, watcher } = depot;
    assertEquals(watcher.toldUntilNs(), 0n, "the directories are not known yet");
    let told = watcher.next();
    await becomesQuiet(watcher);
    const idle = watcher.toldUntilNs();
    assert(idle > 0n && idle <= BigInt(Date.now() + 1) * 1_000_000n);
    await sh(dir, "echo 1 > a");
    const written = BigInt(Date.now() + 1) * 1_000_000n;
    // In the kernel's queue, then told.
    assert(watcher.toldUntilNs() < written);
    await told;
    assert(watcher.toldUntilNs() < written);
    told = watcher.next();
    while (watcher.toldUntilNs() < written) await new Promise((resolve) => setTimeout(resolve, 1));
    watcher.barrier(1);
    await told;
    // Also when events come without end: what is gathered was before.
    await depot.after("echo 2 > a");
    const before = watcher.toldUntilNs();
    await depot.after("echo 3 > a");
    assert(watcher.toldUntilNs() > before);
  },
);

async function becomesQuiet(watcher: Watcher): Promise<void> {
  while (!watcher.isQuiet()) await new Promise((resolve) => setTimeout(resolve, 0));
}
