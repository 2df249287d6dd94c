/**
 * The demo: builds the program, makes a temporary depot with a directory as storage, and shows the life
 * of its files, timed. Cleans up after itself. Needs no account, no server.
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
import { isArchive, makeArchives, REVISIONS, submit } from "../e2e/rcs_archives.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const FILES_WITHOUT_RCS = 150;

let begun = performance.now();

/** One line: time since the start, and what happened. */
function tell(line: string): void {
  const seconds = ((performance.now() - begun) / 1000).toFixed(2).padStart(6);
  console.log(`${seconds} s  ${line}`);
}

async function timed<T>(work: () => Promise<T> | T): Promise<{ ms: number; value: T }> {
  const from = performance.now();
  const value = await work();
  return { ms: performance.now() - from, value };
}

const rate = (count: number, ms: number) =>
  `${ms.toFixed(0)} ms, ${(count / ms * 1000).toFixed(0)}/s`;

function assertSame(name: string, expected: Uint8Array, found: Uint8Array): void {
  const same = expected.length === found.length && expected.every((byte, i) => byte === found[i]);
  if (!same) throw new Error(`${name} came back with other content`);
}

/** An archive tree: real RCS archives where `ci` is installed, else files that look like them. */
async function makeTree(dir: string): Promise<Map<string, Uint8Array>> {
  if (hasProgram("ci")) {
    await makeArchives(dir);
    return new Map([...filesBelow(dir)].filter(([name]) => isArchive(name)));
  }
  tell("RCS (ci, co) is not installed: plain files stand for the archives");
  const files = new Map<string, Uint8Array>();
  for (let i = 0; i < FILES_WITHOUT_RCS; i++) {
    const text = `head 1.1;\n${"line\n".repeat(i + 1)}`;
    files.set(`main/${i % 10}/file${i}.c,v`, new TextEncoder().encode(text));
  }
  return files;
}

async function readAllUnderShim(depot: string, files: Map<string, Uint8Array>): Promise<number> {
  let reads = 0;
  for (const [name, bytes] of files) {
    assertSame(
      name,
      bytes,
      (await run("cat", [`${depot}/${name}`], { env: shimEnv(depot) })).bytes,
    );
    reads++;
  }
  return reads;
}

/** What is possible without the right to watch: a replica restores from the storage. */
async function showReplica(dir: string): Promise<void> {
  const depot = `${dir}/depot`, store = `${dir}/store`;
  tell(
    "No CAP_SYS_ADMIN here: the kernel does not let us watch writes. Showing a read-only replica;",
  );
  tell("run the demo as root to see uploads and evictions as well");
  const files = await makeTree(`${dir}/staging`);
  for (const [name, bytes] of files) submit(store, name, bytes);
  tell(`${files.size} files are in the storage, none in the depot`);
  const args = ["--read-only", "--primary-type", "nfs", "--primary-path", store];
  await using daemon = await DaemonProcess.start(depot, args);
  const { ms, value } = await timed(() => readAllUnderShim(depot, files));
  tell(`${value} programs read them under the shim, byte for byte the same (${rate(value, ms)})`);
  await daemon.stop();
}

async function showCycle(dir: string): Promise<void> {
  const depot = `${dir}/depot`, store = `${dir}/store`, staging = `${dir}/staging`;
  const args = ["--primary-type", "nfs", "--primary-path", store];
  const files = await makeTree(staging);
  const [example] = files.keys();
  const isStored = (name: string) => {
    try {
      return Deno.statSync(`${store}/${name}`).size === files.get(name)!.length;
    } catch {
      return false;
    }
  };
  const allStored = () => [...files.keys()].every(isStored);

  const first = await DaemonProcess.start(depot, args);
  tell(`the daemon watches ${depot} and stores in ${store}`);
  const written = await timed(() => files.forEach((bytes, name) => submit(depot, name, bytes)));
  tell(
    `${files.size} files written as p4d writes them (tmp.PID.TID.SEQ, renamed): ${
      rate(files.size, written.ms)
    }`,
  );
  const stored = await timed(() => until("all are stored", allStored));
  tell(
    `all of them are in the storage ${stored.ms.toFixed(0)} ms later, '${example}' as a plain file`,
  );
  await first.stop();

  const tight = [...args, "--max-cache-bytes", "20000", "--low-watermark-bytes", "10000"];
  const second = await DaemonProcess.start(depot, tight);
  tell("restarted with a cache of 20,000 bytes");
  const evicted = await timed(() => until("the cache is small", () => filesBelow(depot).size < 30));
  tell(
    `${files.size - filesBelow(depot).size} cold files evicted (${
      evicted.ms.toFixed(0)
    } ms); '${example}' is ${
      filesBelow(depot).has(example!) ? "still local" : "only in the storage"
    }`,
  );

  const read = await timed(() => readAllUnderShim(depot, files));
  tell(
    `${read.value} programs under the shim read every file, byte for byte the same (${
      rate(read.value, read.ms)
    })`,
  );
  if (hasProgram("ci")) await showCheckIn(dir, depot, staging, files);
  await until("the new revision is stored", allStored);
  tell("uploaded again");

  submit(depot, "late/file,v", new TextEncoder().encode("written a moment before the crash\n"));
  files.set("late/file,v", Deno.readFileSync(`${depot}/late/file,v`));
  await second.kill();
  tell("one more file written, then the daemon killed with SIGKILL");
  const third = await DaemonProcess.start(depot, args);
  const recovered = await timed(() => until("the late file is stored", allStored));
  tell(`started again: the late file is in the storage ${recovered.ms.toFixed(0)} ms later`);
  await readAllUnderShim(depot, files);
  tell(`all ${files.size} files read once more: nothing is lost`);
  await third.stop();
}

async function showCheckIn(
  dir: string,
  depot: string,
  staging: string,
  files: Map<string, Uint8Array>,
): Promise<void> {
  const env = shimEnv(depot);
  const archive = [...files.keys()].find((name) => name.endsWith(",v"))!;
  for (let r = 1; r <= REVISIONS; r++) {
    const out = await run("co", ["-q", `-p1.${r}`, `${depot}/${archive}`], { env });
    assertSame(archive, Deno.readFileSync(`${staging}/${archive.slice(0, -2)}.rev${r}`), out.bytes);
  }
  tell(`co gives revisions 1.1 to 1.${REVISIONS} of '${archive}'`);
  const work = `${dir}/${archive.slice(archive.lastIndexOf("/") + 1, -2)}`;
  await run("co", ["-q", "-l", work, `${depot}/${archive}`], { env, cwd: dir });
  Deno.writeTextFileSync(work, "a new revision\n");
  const ci = await run("ci", ["-q", "-mnew", work, `${depot}/${archive}`], { env, cwd: dir });
  if (ci.code !== 0) throw new Error(`ci failed: ${ci.stderr}`);
  files.set(archive, (await run("cat", [`${depot}/${archive}`], { env })).bytes);
  tell(`ci checked in revision 1.${REVISIONS + 1}`);
}

const build = new Deno.Command(Deno.execPath(), {
  args: ["run", "-A", "src/build/build.ts"],
  cwd: ROOT,
});
if (!(await build.spawn().status).success) Deno.exit(1);
const version = await run(BINARY, ["--version"]);
console.log(`\n${version.stdout.trim()}: the life of a depot's files\n`);
using dir = new TempDir();
for (const name of ["depot", "store", "staging"]) Deno.mkdirSync(`${dir.path}/${name}`);
begun = performance.now();
await (mayWatch() ? showCycle(dir.path) : showReplica(dir.path));
tell("done; the temporary depot is removed");
