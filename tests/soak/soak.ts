/**
 * A mixed load for a given time, on a cache that is too small for it:
 * `deno task soak [--minutes N] [--seed N]`. Fails when memory, descriptors, the manifest or temporary
 * files grow, when a file is not what was written, or when something stays to be uploaded.
 *
 * @module
 */

import type { Status } from "../../src/admin/status.ts";
import { askDaemon } from "../../src/commands/control_client.ts";
import { BINARY, DaemonProcess, run, TempDir } from "../e2e/daemon_process.ts";
import { Random } from "../sim/random.ts";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import { type Allowance, courseOf } from "./growth.ts";
import { Workload } from "./workload.ts";

/** Samples of a run, whatever its length. */
const SAMPLES = 60;

/** What is watched, and how much of it may come. */
const WATCHED: Readonly<Record<string, Allowance>> = {
  "memory, anonymous, MiB": { slack: 12, share: 0.1 },
  "descriptors": { slack: 6, share: 0 },
  "manifest, KiB in use": { slack: 1024, share: 0.1 },
  "access log, KiB in use": { slack: 1024, share: 0.25 },
  "temporary files": { slack: 4, share: 0 },
};

/** Sizes of the cache, bytes: the load's files are about twice as much. */
const CACHE_FLAGS = ["--max-cache-bytes", `${32e6}`, "--low-watermark-bytes", `${24e6}`];

function option(name: string, fallback: number): number {
  const at = Deno.args.indexOf(name);
  return at < 0 ? fallback : Number(Deno.args[at + 1]);
}

function sample(daemon: DaemonProcess, metricsPath: string): Record<string, number> {
  const status = Deno.readTextFileSync(`/proc/${daemon.pid}/status`);
  const metrics = Deno.readTextFileSync(metricsPath);
  const used = (database: string) => {
    const line = new RegExp(`^p4cache_database_used_bytes{.*database="${database}".*} (\\d+)`, "m");
    return Number(line.exec(metrics)?.[1]) / 1024;
  };
  const state = `${daemon.depot}/.p4cache`;
  const entries = (dir: string) => [...Deno.readDirSync(dir)].length;
  return {
    "memory, anonymous, MiB": Number(/RssAnon:\s+(\d+)/.exec(status)![1]) / 1024,
    "descriptors": entries(`/proc/${daemon.pid}/fd`),
    "manifest, KiB in use": used("manifest"),
    "access log, KiB in use": used("access"),
    "temporary files": entries(`${state}/restore`) + entries(`${state}/conflicts`) +
      entries(state),
  };
}

async function watch(daemon: DaemonProcess, metricsPath: string, minutes: number) {
  const samples: Record<string, number>[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    await new Promise((resolve) => setTimeout(resolve, minutes * 60_000 / SAMPLES));
    samples.push(sample(daemon, metricsPath));
    if (i % 10 === 9) console.log(JSON.stringify(samples.at(-1)));
  }
  return samples;
}

/** Prints how each figure went; returns those that grow. */
function judge(samples: readonly Record<string, number>[]): string[] {
  const growing: string[] = [];
  for (const [name, allowance] of Object.entries(WATCHED)) {
    const { early, late, grows } = courseOf(samples.map((each) => each[name]!), allowance);
    const amounts = `${early.toFixed(0).padStart(8)} →${late.toFixed(0).padStart(8)}`;
    console.log(`${name.padEnd(26)}${amounts}${grows ? "   GROWS" : ""}`);
    if (grows) growing.push(name);
  }
  return growing;
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
  const samples = await Promise.race([watch(daemon, metrics, minutes), working.then(() => [])]);
  ended.abort();
  await working;
  const flushed = await run(BINARY, ["flush", "--wait", "--depot-path", depot]);
  const checked = await load.checkAll();
  const { totals } = await askDaemon<Status>(depot, "status");
  console.log(
    `${JSON.stringify(load.counts)}; uploads ${totals.uploadsOk}, evictions ${totals.evictions}, ` +
      `restores ${totals.restoresOk}; ${checked} files checked at the end`,
  );
  const problems = judge(samples);
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
