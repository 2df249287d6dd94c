/**
 * What the benchmarks of the daemon share: how they time, and where they look.
 *
 * @module
 */

import type { Status } from "../../src/admin/status.ts";
import { askDaemon } from "../../src/commands/control_client.ts";
import type { S3Config } from "../../src/config/config.ts";
import { BINARY, type DaemonProcess, run, SHIM, TempDir } from "../e2e/daemon_process.ts";

/** Clock ticks of a second (sysconf(3), _SC_CLK_TCK on Linux). */
const TICKS = 100;

/** Name of a figure → value. */
export type Figures = Record<string, number>;

/** Seconds since the start, and a rate a second then. */
export type Rates = [seconds: number, rate: number][];

/** Time between two looks at a count, ms. */
const LOOK_MS = 100;

/** What the writing and reading program printed: seconds, median µs, 99th percentile µs. */
export async function timed(program: string, args: readonly (string | number)[], shimOf?: string) {
  const env = shimOf === undefined ? {} : { LD_PRELOAD: SHIM, P4CACHE_DEPOT: shimOf };
  const { code, stdout, stderr } = await run(program, args.map(String), { env });
  if (code !== 0) throw new Error(stderr);
  const [seconds, p50, p99] = stdout.trim().split(" ").map(Number);
  return { seconds: seconds!, p50: p50!, p99: p99! };
}

/** What the daemon of the depot says of itself. */
export function statusOf(depot: string): Promise<Status> {
  return askDaemon(depot, "status");
}

/** Waits until nothing is dirty. */
export async function flush(depot: string): Promise<void> {
  const { code, stderr } = await run(BINARY, ["flush", "--wait", "--depot-path", depot]);
  if (code !== 0) throw new Error(stderr);
}

/** Processor time of the daemon so far, s. */
export function cpuSeconds({ pid }: DaemonProcess): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Most memory the daemon has had, MiB. */
export function peakMib({ pid }: DaemonProcess): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmHWM:\s+(\d+)/.exec(status)![1]) / 1024;
}

/** Makes the directory and returns its path. */
export function makeDir(path: string): string {
  Deno.mkdirSync(path);
  return path;
}

/** A temporary directory for depots, where `--dir` says: a filesystem with a journal, as depots have. */
export function workDir(): TempDir {
  return new TempDir(option("--dir"));
}

/** Has daemons that are started from now on use what the S3 server asks for. */
export function setCredentials({ accessKey, secretKey }: S3Config): void {
  Deno.env.set("AWS_ACCESS_KEY_ID", accessKey!);
  Deno.env.set("AWS_SECRET_ACCESS_KEY", secretKey!);
}

/** Builds the writing and reading program; returns its path. */
export async function buildProgram(dir: string): Promise<string> {
  const program = `${dir}/engine_bench`;
  const source = new URL("./c/engine_bench.c", import.meta.url).pathname;
  const built = await run("gcc", ["-O2", "-std=c11", "-o", program, source]);
  if (built.code !== 0) throw new Error(`Cannot build the measuring program: ${built.stderr}`);
  return program;
}

/** Follows a count of the daemon while the work goes on; returns how fast it rose. */
export async function follow(
  depot: string,
  count: (status: Status) => number,
  work: Promise<unknown>,
): Promise<Rates> {
  const rates: Rates = [], begun = performance.now();
  let isDone = false, lastMs = begun, last = count(await statusOf(depot));
  const done = work.finally(() => isDone = true);
  while (!isDone) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    const now = count(await statusOf(depot)), nowMs = performance.now();
    rates.push([(nowMs - begun) / 1000, (now - last) * 1000 / (nowMs - lastMs)]);
    [last, lastMs] = [now, nowMs];
  }
  await done;
  return rates;
}

/** Says what is measured now: a whole benchmark takes minutes. */
export async function step<T>(name: string, work: Promise<T>): Promise<T> {
  const begun = performance.now();
  const result = await work;
  console.log(`  ${name}: measured in ${((performance.now() - begun) / 1000).toFixed(0)} s`);
  return result;
}

/** The value after the flag. */
export function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

/** Writes what was measured where `--json` says. */
export function report(measured: unknown): void {
  const path = option("--json");
  if (path !== undefined) Deno.writeTextFileSync(path, JSON.stringify(measured, null, 2));
}
