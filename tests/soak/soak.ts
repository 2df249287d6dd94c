/**
 * A mixed load for a given time, on a cache that is too small for it:
 * `deno task soak [--minutes N] [--seed N]`. Fails when memory, descriptors, the manifest or temporary
 * files grow, when a file is not what was written, when something stays to be uploaded, or when the daemon was
 * degraded by anything but a full cache.
 *
 * What counts as growth
 *   - Memory under load swings with the runtime's collections, and descriptors with the connections to the
 *     storage: they only have a bound. What leaks shows where the load rests, and the daemon has given back
 *     what it can (`src/observe/rests.ts`): there it may not rise.
 *   - The manifest keeps a row for each file and for each name that was deleted or renamed (contract):
 *     no database may have more rows than there were names. Its pages are used again, never given back.
 *   - Everything else may not rise at all, but for swings.
 *
 * @module
 */

import type { Status } from "../../src/admin/status.ts";
import { askDaemon } from "../../src/commands/control_client.ts";
import { BINARY, DaemonProcess, run, TempDir } from "../e2e/daemon_process.ts";
import { Random } from "../sim/random.ts";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import { type Allowance, courseOf } from "./growth.ts";
import { manifestRows } from "./manifest_rows.ts";
import { MOST_NAMES, Workload } from "./workload.ts";

/** Samples of a run, whatever its length. */
const SAMPLES = 60;

/** The load rests after so many samples, for so long that the daemon has given back what it can, s. */
const REST_EVERY = 15, REST_SECONDS = 30;

const MEMORY = "memory, anonymous, MiB", MANIFEST = "manifest, KiB in use";
const DESCRIPTORS = "descriptors";

/** What may not grow under load, and how much of it may come. */
const STEADY: Readonly<Record<string, Allowance>> = {
  "access log, KiB in use": { slack: 1024, share: 0.25 },
  "temporary files": { slack: 4, share: 0 },
};

/**
 * The most at any time. Memory: 50 MiB at rest, 64 for uploads on their way, the same for restores, and what
 * the runtime collects only then. Manifest: 1 KiB a name, and as much for pages between two uses.
 * Descriptors: three batches of 512 files on their way out, each with its directory, and a connection for
 * each of 512 uploads.
 */
const BOUNDS: Readonly<Record<string, number>> = {
  [MEMORY]: 256,
  [MANIFEST]: 2 * MOST_NAMES,
  [DESCRIPTORS]: 4096,
};

/**
 * How much more the last rest may show than the first. Memory, MiB: what was freed between pieces that are still
 * in use, and what the load has not needed before the first rest.
 */
const REST_SLACK: Readonly<Record<string, number>> = { [MEMORY]: 24, [DESCRIPTORS]: 6 };

/** Sizes of the cache, bytes: the load's files are about twice as much. */
const CACHE_FLAGS = ["--max-cache-bytes", `${32e6}`, "--low-watermark-bytes", `${24e6}`];

/** What is left at the end goes within this time, s. */
const FLUSH_SECONDS = "120";

type Sample = Readonly<Record<string, number>>;

/** What was seen while the load ran, and while it rested. */
interface Course {
  readonly samples: Sample[];
  readonly rests: Sample[];
}

function option(name: string, fallback: number): number {
  const at = Deno.args.indexOf(name);
  return at < 0 ? fallback : Number(Deno.args[at + 1]);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

function sample(daemon: DaemonProcess, metricsPath: string): Sample {
  const metrics = Deno.readTextFileSync(metricsPath);
  const used = (database: string) => {
    const line = new RegExp(`^p4cache_database_used_bytes{.*database="${database}".*} (\\d+)`, "m");
    return Number(line.exec(metrics)?.[1]) / 1024;
  };
  const state = `${daemon.depot}/.p4cache`;
  const entries = (dir: string) => [...Deno.readDirSync(dir)].length;
  return {
    [MEMORY]: daemon.anonymousMib,
    [DESCRIPTORS]: entries(`/proc/${daemon.pid}/fd`),
    [MANIFEST]: used("manifest"),
    "access log, KiB in use": used("access"),
    "temporary files": entries(`${state}/restore`) + entries(`${state}/conflicts`) +
      entries(state),
  };
}

async function watch(
  daemon: DaemonProcess,
  load: Workload,
  metricsPath: string,
  minutes: number,
): Promise<Course> {
  const samples: Sample[] = [], rests: Sample[] = [];
  for (let i = 1; i <= SAMPLES; i++) {
    await sleep(minutes * 60_000 / SAMPLES);
    samples.push(sample(daemon, metricsPath));
    if (i % REST_EVERY !== 0) continue;
    console.log(JSON.stringify(samples.at(-1)));
    using _ = load.pause();
    await sleep(REST_SECONDS * 1000);
    rests.push(sample(daemon, metricsPath));
  }
  return { samples, rests };
}

/** Prints how each figure went; returns those that grow. */
function judge({ samples, rests }: Course, operations: number): string[] {
  const growing: string[] = [];
  const tell = (name: string, amounts: string, grows: boolean) => {
    console.log(`${name.padEnd(34)}${amounts.padStart(18)}${grows ? "   GROWS" : ""}`);
    if (grows) growing.push(name);
  };
  for (const [name, allowance] of Object.entries(STEADY)) {
    const { early, late, grows } = courseOf(samples.map((each) => each[name]!), allowance);
    tell(name, `${early.toFixed(0)} → ${late.toFixed(0)}`, grows);
  }
  for (const [name, bound] of Object.entries(BOUNDS)) {
    const most = Math.max(...samples.map((each) => each[name]!));
    tell(`${name}, most`, `${most.toFixed(0)} of ${bound}`, most > bound);
  }
  const atRest = (name: string) => rests.map((each) => each[name]!);
  for (const [name, slack] of Object.entries(REST_SLACK)) {
    const course = atRest(name);
    const path = course.map((each) => each.toFixed(0)).join(" → ");
    tell(`${name}, at rest`, path, course.at(-1)! > course[0]! + slack);
  }
  const grown = atRest(MEMORY).at(-1)! - atRest(MEMORY)[0]!;
  const each = grown * 1024 ** 2 / operations;
  console.log(`${"bytes more at rest an operation".padEnd(34)}${each.toFixed(0).padStart(18)}`);
  return growing;
}

/** Prints the rows of each database that has any; returns those with more than there were names. */
function judgeRows(depot: string): string[] {
  const rows = manifestRows(depot);
  console.log(`rows of ${MOST_NAMES} names: ${JSON.stringify(rows)}`);
  return Object.entries(rows).filter(([, count]) => count > MOST_NAMES)
    .map(([name]) => `rows of ${name}`);
}

/** What the daemon said it suffered from, but for a cache that is too small: that one is meant. */
function troubles(log: string): string[] {
  const conditions = new Set([...log.matchAll(/Degraded \((\w+)\)/g)].map(([, name]) => name!));
  conditions.delete("cache_over");
  return [...conditions].map((condition) => `degraded: ${condition}`);
}

async function soak(storage: readonly string[], minutes: number, seed: number): Promise<string[]> {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`, metrics = `${dir.path}/m.prom`;
  Deno.mkdirSync(depot);
  const flags = [...CACHE_FLAGS, "--metrics-file", metrics, "--metrics-interval", "1"];
  await using daemon = await DaemonProcess.start(depot, [...storage, ...flags]);
  const load = new Workload(daemon, new Random(seed));
  const ended = new AbortController();
  const working = load.run(ended.signal);
  const none: Course = { samples: [], rests: [] };
  const course = await Promise.race([
    watch(daemon, load, metrics, minutes),
    working.then(() => none),
  ]);
  ended.abort();
  await working;
  const operations = Object.values(load.counts).reduce((sum, count) => sum + count, 0);
  const flushed = await run(BINARY, [
    "flush",
    "--wait",
    "--timeout",
    FLUSH_SECONDS,
    "--depot-path",
    depot,
  ]);
  const checked = await load.checkAll();
  const { totals } = await askDaemon<Status>(depot, "status");
  console.log(
    `${JSON.stringify(load.counts)}; uploads ${totals.uploadsOk}, evictions ${totals.evictions}, ` +
      `restores ${totals.restoresOk}; ${checked} files checked at the end`,
  );
  const problems = [...judge(course, operations), ...judgeRows(depot)];
  problems.push(...troubles(daemon.log()));
  if (flushed.code !== 0) problems.push(`flush: ${flushed.stderr}`);
  if (totals.evictions === 0 || totals.restoresOk === 0) problems.push("nothing was evicted");
  return problems;
}

const minutes = option("--minutes", 20), seed = option("--seed", 1);
const binary = versitygwBinary();
const server = binary === null ? null : await startVersitygw(binary);
using store = new TempDir();
let storage = ["--primary-type", "nfs", "--primary-path", store.path];
if (server !== null) {
  const { bucket, accessKey, secretKey } = server.config();
  Deno.env.set("AWS_ACCESS_KEY_ID", accessKey!);
  Deno.env.set("AWS_SECRET_ACCESS_KEY", secretKey!);
  storage = ["--primary-type", "s3", "--primary-bucket", bucket];
  storage.push("--primary-endpoint", server.endpoint);
}
console.log(`${minutes} minutes, seed ${seed}, ${server === null ? "a directory" : "S3"}`);
try {
  const problems = await soak(storage, minutes, seed);
  console.log(problems.length === 0 ? "Nothing grows" : `FAILED: ${problems.join("; ")}`);
  if (problems.length > 0) Deno.exitCode = 1;
} finally {
  await server?.end();
}
