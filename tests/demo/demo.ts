/**
 * The demo: builds the binary, and shows the whole life of an archive tree on a temporary depot, with
 * a local directory in place of the bucket. Every claim it prints has been compared byte for byte.
 *
 * Without CAP_SYS_ADMIN no depot can be watched; then it shows what a read-only replica does.
 *
 * @module
 */

import {
  DaemonProcess,
  filesBelow,
  hasProgram,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "../e2e/daemon_process.ts";
import { submit } from "../e2e/rcs_archives.ts";
import { generatedTree, rcsTree, type Tree } from "./trees.ts";
import { count, size, Story } from "./story.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Watermark of the second act, bytes: most of the tree has to go. */
const SMALL_CACHE_BYTES = 60_000;

/** Files written right before the crash. */
const LATE_FILES = 50;

/** Where everything happens. */
interface Stage {
  readonly dir: string;
  readonly depot: string;
  /** Stands for the bucket. */
  readonly store: string;
  readonly tree: Tree;
  readonly story: Story;
}

const storage = (stage: Stage) => ["--primary-type", "nfs", "--primary-path", stage.store];

function isSame(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);
}

/** @throws Error naming the first file whose bytes are not where they should be. */
function requireAll(what: string, tree: Tree, find: (name: string) => Uint8Array | undefined) {
  for (const [name, bytes] of tree.files) {
    if (!isSame(bytes, find(name))) throw new Error(`${what}: ${name} differs`);
  }
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** Bytes of the files that are in the depot now, and their number. */
function localFiles(stage: Stage): { bytes: number; number: number } {
  const files = [...filesBelow(stage.depot).values()];
  return { bytes: files.reduce((sum, file) => sum + file.length, 0), number: files.length };
}

async function uploadAct(stage: Stage): Promise<void> {
  const { story, tree, depot, store } = stage;
  story.act(`p4d submits ${count(tree.files.size, "file")}; the daemon uploads them`);
  await using daemon = await DaemonProcess.start(depot, storage(stage));
  story.say(`daemon ready, pid ${daemon.pid}: ${daemon.log().split("Serving ")[1]?.trim()}`);
  for (const [name, bytes] of tree.files) {
    const begun = performance.now();
    submit(depot, name, bytes);
    if (!tree.samples.includes(name)) continue;
    await until(`${name} is in storage`, () => exists(`${store}/${name}`));
    story.file(name, `written, ${size(bytes.length)}; in storage ${story.since(begun)} later`);
  }
  const begun = performance.now();
  await until("every file is in storage", () => {
    const stored = filesBelow(store);
    return [...tree.files].every(([name, bytes]) => isSame(bytes, stored.get(name)));
  });
  const bytes = [...tree.files.values()].reduce((sum, file) => sum + file.length, 0);
  story.say(
    `all ${count(tree.files.size, "file")}, ${size(bytes)}, in storage and equal, ` +
      `${story.since(begun)} after the last was written`,
  );
  await daemon.stop();
  story.say("daemon stopped (SIGTERM)");
}

async function evictAct(stage: Stage): Promise<DaemonProcess> {
  const { story, tree, depot } = stage;
  story.act(`The cache may hold ${size(SMALL_CACHE_BYTES)} only: the longest unread files go`);
  const begun = performance.now();
  const marks = ["--max-cache-bytes", String(2 * SMALL_CACHE_BYTES)];
  marks.push("--low-watermark-bytes", String(SMALL_CACHE_BYTES));
  const daemon = await DaemonProcess.start(depot, [...storage(stage), ...marks]);
  await until("the cache is small", () => localFiles(stage).bytes <= SMALL_CACHE_BYTES);
  const left = localFiles(stage);
  for (const name of tree.samples) {
    story.file(name, exists(`${depot}/${name}`) ? "still here" : "evicted; its object stays");
  }
  story.say(
    `${count(tree.files.size - left.number, "file")} evicted in ${story.since(begun)}; ` +
      `${left.number} left, ${size(left.bytes)}`,
  );
  return daemon;
}

/** Reads everything as p4d does. With `isTimed`, samples are read a second time, warm. */
async function restoreAct(stage: Stage): Promise<void> {
  const { story, tree, depot } = stage;
  const env = shimEnv(depot);
  story.act(`${tree.reader} under libp4shim.so reads every revision; missing files come back`);
  const read = async (argv: readonly string[]) => {
    const out = await run(argv[0]!, argv.slice(1), { env });
    if (out.code !== 0) throw new Error(`${argv.join(" ")}: ${out.stderr}`);
    return out.bytes;
  };
  const all = performance.now();
  let revisions = 0;
  for (const name of tree.files.keys()) {
    const wasHere = exists(`${depot}/${name}`);
    let first: string | null = null;
    for (const revision of tree.revisions(name, depot)) {
      const begun = performance.now();
      const bytes = await read(revision.argv);
      first ??= story.since(begun);
      if (!isSame(revision.bytes, bytes)) throw new Error(`${revision.argv.join(" ")} differs`);
      revisions++;
    }
    if (!tree.samples.includes(name)) continue;
    const [again] = tree.revisions(name, depot);
    const begun = performance.now();
    await read(again!.argv);
    const cold = wasHere ? "was here" : "restored";
    story.file(name, `${cold}, first read ${first}, again ${story.since(begun)}`);
  }
  story.say(
    `${count(revisions, "revision")} read and equal, ${story.since(all)} in all ` +
      `(each one a process of its own)`,
  );
}

async function checkInAct(stage: Stage): Promise<void> {
  const { story, tree, depot, store } = stage;
  if (tree.checkIn === null) return;
  story.act("New revisions are checked in on evicted archives, and uploaded again");
  for (const name of tree.samples.filter((name) => name.endsWith(",v"))) {
    const wasHere = exists(`${depot}/${name}`);
    const begun = performance.now();
    const bytes = await tree.checkIn(name, depot, shimEnv(depot));
    tree.files.set(name, bytes);
    const done = story.since(begun);
    await until(
      `${name} is uploaded again`,
      () => isSame(bytes, Deno.readFileSync(`${store}/${name}`)),
    );
    story.file(
      name,
      `${wasHere ? "" : "restored, "}checked in (${done}), in storage ${story.since(begun)}`,
    );
  }
}

async function crashAct(stage: Stage, daemon: DaemonProcess): Promise<void> {
  const { story, tree, depot, store } = stage;
  story.act(`${LATE_FILES} more files are written, and the daemon is killed (kill -9) at once`);
  for (let i = 0; i < LATE_FILES; i++) {
    const name = `late/render ${i}.psd,d/1.1.gz`;
    const bytes = crypto.getRandomValues(new Uint8Array(4000 + i));
    tree.files.set(name, bytes);
    submit(depot, name, bytes);
  }
  await daemon.kill();
  const stored = filesBelow(store), local = filesBelow(depot);
  const uploaded = [...stored.keys()].filter((name) => name.startsWith("late/")).length;
  story.say(`killed; ${uploaded} of ${LATE_FILES} had reached storage`);
  requireAll("after the kill", tree, (name) => local.get(name) ?? stored.get(name));
  story.say(`all ${tree.files.size} files are on disk or in storage, and equal`);
  const begun = performance.now();
  await using next = await DaemonProcess.start(depot, storage(stage));
  await until("the rest is in storage", () => {
    const now = filesBelow(store);
    return [...tree.files].every(([name, bytes]) => isSame(bytes, now.get(name)));
  });
  story.say(
    `restarted; nothing lost: all ${tree.files.size} files in storage ${story.since(begun)} later`,
  );
  const answer = await next.fetch("test/nonexistent");
  story.say(`a file that never was: FETCH test/nonexistent → ${answer}`);
  await next.stop();
}

/** What is possible without the right to watch: a replica that only restores. */
async function replicaPlay(stage: Stage): Promise<void> {
  const { story, tree, depot, store } = stage;
  story.say("No CAP_SYS_ADMIN: a depot cannot be watched, so nothing can be uploaded or evicted.");
  story.say("Run it as root for the whole cycle. Here is the half that needs no right: a replica.");
  story.act(
    `A bucket with ${count(tree.files.size, "file")}, an empty depot, a --read-only daemon`,
  );
  for (const [name, bytes] of tree.files) submit(store, name, bytes);
  await using daemon = await DaemonProcess.start(depot, [...storage(stage), "--read-only"]);
  await restoreAct(stage);
  const restored = filesBelow(depot);
  requireAll("in the replica", tree, (name) => restored.get(name));
  story.say(`the depot now holds ${count(restored.size, "file")}, each equal to its object`);
  story.say(
    `a file that never was: FETCH test/nonexistent → ${await daemon.fetch("test/nonexistent")}`,
  );
  await daemon.stop();
}

async function wholePlay(stage: Stage): Promise<void> {
  await uploadAct(stage);
  await using daemon = await evictAct(stage);
  await restoreAct(stage);
  await checkInAct(stage);
  await crashAct(stage, daemon);
}

async function build(): Promise<void> {
  console.log("Building build/p4-cache (the first time fetches packages, about a minute) …");
  const built = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "src/build/build.ts"],
    cwd: ROOT,
    stdin: "null",
  }).spawn().status;
  if (!built.success) throw new Error("the build failed, see above");
}

try {
  await build();
  using temporary = new TempDir();
  const [dir, story] = [temporary.path, new Story()];
  const stage = { dir, depot: `${dir}/depot`, store: `${dir}/storage`, story };
  for (const path of [stage.depot, stage.store]) Deno.mkdirSync(path);
  console.log(
    `\ndepot   ${stage.depot}\nstorage ${stage.store} (a directory in place of a bucket)`,
  );
  const tree = hasProgram("ci") ? await rcsTree(dir) : generatedTree();
  console.log(`files   ${tree.origin}\n`);
  await (mayWatch() ? wholePlay : replicaPlay)({ ...stage, tree });
  story.end();
} catch (error) {
  console.error(`The demo failed: ${error instanceof Error ? error.message : error}`);
  Deno.exitCode = 1;
}
