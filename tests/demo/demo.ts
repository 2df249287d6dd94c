/**
 * The demo: builds the program, and shows the whole life of an archive tree on a temporary depot, with
 * a local directory as storage. Every claim it prints has been compared byte for byte. Cleans up after
 * itself; needs no account and no server.
 *
 * Without CAP_SYS_ADMIN no depot can be watched; then it shows what a read-only replica does.
 *
 * @module
 */

import {
  BINARY,
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
import { size, Story } from "./story.ts";
import { generatedTree, rcsTree, type Tree } from "./trees.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Watermark of the second act, bytes: most of the tree has to go. */
const SMALL_CACHE_BYTES = 60_000;

/** Files written right before the crash. */
const LATE_FILES = 50;

/** Where everything happens. */
interface Stage {
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

function allStored({ store, tree }: Stage): boolean {
  const stored = filesBelow(store);
  return [...tree.files].every(([name, bytes]) => isSame(bytes, stored.get(name)));
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

function totalBytes(files: Map<string, Uint8Array>): number {
  return [...files.values()].reduce((sum, file) => sum + file.length, 0);
}

async function uploadAct(stage: Stage): Promise<void> {
  const { story, tree, depot, store } = stage;
  story.act(`p4d submits ${tree.files.size} files; the daemon uploads them`);
  await using daemon = await DaemonProcess.start(depot, storage(stage));
  story.say(`daemon ready, pid ${daemon.pid}`);
  for (const [name, bytes] of tree.files) {
    const begun = performance.now();
    submit(depot, name, bytes);
    if (!tree.samples.includes(name)) continue;
    await until(`${name} is in storage`, () => exists(`${store}/${name}`));
    story.file(name, `written, ${size(bytes.length)}; in storage ${story.since(begun)} later`);
  }
  const begun = performance.now();
  await until("every file is in storage", () => allStored(stage));
  story.say(
    `all ${tree.files.size} files, ${size(totalBytes(tree.files))}, are in storage and equal, ` +
      `${story.since(begun)} after the last was written`,
  );
  await daemon.stop();
  story.say("daemon stopped (SIGTERM)");
}

async function evictAct(stage: Stage): Promise<DaemonProcess> {
  const { story, tree, depot } = stage;
  story.act(`Restarted with room for ${size(SMALL_CACHE_BYTES)}: the longest unread files go`);
  const begun = performance.now();
  const daemon = await DaemonProcess.start(depot, [
    ...storage(stage),
    "--max-cache-bytes",
    String(2 * SMALL_CACHE_BYTES),
    "--low-watermark-bytes",
    String(SMALL_CACHE_BYTES),
  ]);
  let left = filesBelow(depot);
  await until("the cache is small", () => {
    left = filesBelow(depot);
    return totalBytes(left) <= SMALL_CACHE_BYTES;
  });
  for (const name of tree.samples) {
    story.file(name, left.has(name) ? "still here" : "evicted; its object stays");
  }
  story.say(
    `${tree.files.size - left.size} files evicted in ${story.since(begun)}; ` +
      `${left.size} left, ${size(totalBytes(left))}`,
  );
  return daemon;
}

/** Reads every file as p4d does; tells of samples how long it took cold and warm. */
async function restoreAct({ story, tree, depot }: Stage): Promise<void> {
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
    const how = wasHere ? "was here" : "restored";
    story.file(name, `${how}; first read ${first}, again ${story.since(begun)}`);
  }
  story.say(
    `${revisions} revisions read, each by its own process, and equal: ${story.since(all)} in all`,
  );
}

async function checkInAct({ story, tree, depot, store }: Stage): Promise<void> {
  if (tree.checkIn === null) return;
  story.act("ci adds revisions to evicted archives; they are uploaded again");
  for (const name of tree.samples.filter((name) => name.endsWith(",v"))) {
    const begun = performance.now();
    const bytes = await tree.checkIn(name, depot, shimEnv(depot));
    tree.files.set(name, bytes);
    const done = story.since(begun);
    await until(
      `${name} is uploaded again`,
      () => isSame(bytes, Deno.readFileSync(`${store}/${name}`)),
    );
    story.file(name, `new revision after ${done}, in storage after ${story.since(begun)}`);
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
  story.say(`each of the ${tree.files.size} files is on disk or in storage, and equal`);
  const begun = performance.now();
  await using next = await DaemonProcess.start(depot, storage(stage));
  await until("the rest is in storage", () => allStored(stage));
  story.say(`restarted; ${story.since(begun)} later all ${tree.files.size} are in storage`);
  story.say(`a file that never was: FETCH no/such/file → ${await next.fetch("no/such/file")}`);
  await next.stop();
}

async function wholePlay(stage: Stage): Promise<void> {
  await uploadAct(stage);
  await using daemon = await evictAct(stage);
  await restoreAct(stage);
  await checkInAct(stage);
  await crashAct(stage, daemon);
}

/** What is possible without the right to watch: a replica that only restores. */
async function replicaPlay(stage: Stage): Promise<void> {
  const { story, tree, depot, store } = stage;
  console.log(
    "\nNo CAP_SYS_ADMIN here: the kernel does not let us watch writes, so nothing can be",
  );
  console.log("uploaded or evicted. This is the half that needs no right, a read-only replica.");
  console.log("Run the demo as root to see the whole.");
  story.act(`Storage with ${tree.files.size} files, an empty depot, a --read-only daemon`);
  for (const [name, bytes] of tree.files) submit(store, name, bytes);
  await using daemon = await DaemonProcess.start(depot, [...storage(stage), "--read-only"]);
  story.say(`daemon ready, pid ${daemon.pid}`);
  await restoreAct(stage);
  const restored = filesBelow(depot);
  requireAll("in the replica", tree, (name) => restored.get(name));
  story.say(`the depot now holds ${restored.size} files, each equal to its object`);
  story.say(`a file that never was: FETCH no/such/file → ${await daemon.fetch("no/such/file")}`);
  await daemon.stop();
}

async function build(): Promise<void> {
  console.log("Building (the first time fetches packages, a minute or two) …");
  const built = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "src/build/build.ts"],
    cwd: ROOT,
    stdin: "null",
  }).spawn().status;
  if (!built.success) throw new Error("the build failed, see above");
}

async function play(): Promise<void> {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`, store = `${dir.path}/storage`;
  for (const path of [depot, store]) Deno.mkdirSync(path);
  const version = (await run(BINARY, ["--version"])).stdout.trim();
  const tree = hasProgram("ci") ? await rcsTree(dir.path) : generatedTree();
  console.log(`\n${version}: the life of a depot's files\n`);
  console.log(`depot    ${depot}\nstorage  ${store} (a directory in place of a bucket)`);
  console.log(`files    ${tree.origin}`);
  const story = new Story();
  await (mayWatch() ? wholePlay : replicaPlay)({ depot, store, tree, story });
  story.end();
}

try {
  await build();
  await play();
} catch (error) {
  console.error(`The demo failed: ${error instanceof Error ? error.message : error}`);
  Deno.exitCode = 1;
}
