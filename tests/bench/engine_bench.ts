/**
 * The speed of the whole, from outside: `deno task bench:engine [--files N] [--json FILE]`.
 *
 * The compiled daemon under real writers and readers, with a local directory and with versitygw, a real
 * S3 server, as storage; all on one machine, so that storage, readers and daemon share its processors.
 *
 * @module
 */

import type { Status } from "../../src/admin/status.ts";
import { BINARY, DaemonProcess, run, SHIM, TempDir } from "../e2e/daemon_process.ts";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";

const SMALL_BYTES = 4096;
const LARGE_BYTES = 1024 ** 3;

/** Processes of the storm of restores. */
const READERS = 16;

/** Clock ticks of a second (sysconf(3), _SC_CLK_TCK on Linux). */
const TICKS = 100;

/** Name of a figure → value. */
type Figures = Record<string, number>;

interface Place {
  readonly dir: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly files: number;
}

/** What the writing and reading program printed: seconds, median µs, 99th percentile µs. */
async function timed(program: string, args: readonly (string | number)[], shimOf?: string) {
  const env = shimOf === undefined ? {} : { LD_PRELOAD: SHIM, P4CACHE_DEPOT: shimOf };
  const { code, stdout, stderr } = await run(program, args.map(String), { env });
  if (code !== 0) throw new Error(stderr);
  const [seconds, p50, p99] = stdout.trim().split(" ").map(Number);
  return { seconds: seconds!, p50: p50!, p99: p99! };
}

async function statusOf(depot: string): Promise<Status> {
  return JSON.parse((await run(BINARY, ["status", "--json", "--depot-path", depot])).stdout);
}

async function flush(depot: string): Promise<void> {
  const { code, stderr } = await run(BINARY, ["flush", "--wait", "--depot-path", depot]);
  if (code !== 0) throw new Error(stderr);
}

/** Processor time of the daemon so far, s. */
function cpuSeconds({ pid }: DaemonProcess): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/** Most memory the daemon has had, MiB. */
function peakMib({ pid }: DaemonProcess): number {
  const status = Deno.readTextFileSync(`/proc/${pid}/status`);
  return Number(/VmHWM:\s+(\d+)/.exec(status)![1]) / 1024;
}

function makeDir(path: string): string {
  Deno.mkdirSync(path);
  return path;
}

/** Small files written, uploaded, and evicted again. */
async function measureSmall({ dir, program, args, files }: Place): Promise<Figures> {
  const alone = await timed(program, ["write", makeDir(`${dir}/alone`), files, SMALL_BYTES]);
  const depot = makeDir(`${dir}/depot`);
  const figures: Figures = {};
  {
    await using daemon = await DaemonProcess.start(depot, args);
    const cpuBefore = cpuSeconds(daemon), begun = performance.now();
    const written = await timed(program, ["write", depot, files, SMALL_BYTES]);
    await flush(depot);
    figures["4 KiB up, files/s"] = files * 1000 / (performance.now() - begun);
    figures["4 KiB up, CPU µs each"] = (cpuSeconds(daemon) - cpuBefore) * 1e6 / files;
    figures["writer slowed, ×"] = written.seconds / alone.seconds;
    await daemon.stop();
  }
  const least = ["--max-cache-bytes", "4096", "--low-watermark-bytes", "4096"];
  await using _daemon = await DaemonProcess.start(depot, [...args, ...least]);
  const begun = performance.now();
  let evicted = 0;
  while (evicted < files) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    evicted = (await statusOf(depot)).totals.evictions;
  }
  figures["evicted, files/s"] = files * 1000 / (performance.now() - begun);
  return figures;
}

/** Small files brought back: one after another, and by many at once. */
async function measureRestores({ dir, program, args, files }: Place): Promise<Figures> {
  const figures: Figures = {};
  for (const readers of [1, READERS]) {
    // Named as the depot was: that is the objects' prefix.
    const depot = makeDir(`${makeDir(`${dir}/readers${readers}`)}/depot`);
    await using _daemon = await DaemonProcess.start(depot, [...args, "--read-only"]);
    const count = readers === 1 ? Math.floor(files / 5) : files;
    const read = await timed(program, ["read", depot, count, SMALL_BYTES, readers], depot);
    if (readers === 1) figures["4 KiB restore, p50 µs"] = read.p50;
    if (readers === 1) figures["4 KiB restore, p99 µs"] = read.p99;
    else figures[`restores by ${readers}, files/s`] = count / read.seconds;
  }
  return figures;
}

/** One large file up and down. */
async function measureLarge({ dir, program, args }: Place): Promise<Figures> {
  const top = makeDir(`${dir}/large`), depot = makeDir(`${top}/depot`);
  await timed(program, ["write", depot, 1, LARGE_BYTES]);
  const figures: Figures = {};
  {
    await using daemon = await DaemonProcess.start(depot, args);
    const begun = performance.now();
    await flush(depot);
    while ((await statusOf(depot)).files.total === 0) await flush(depot);
    figures["1 GiB up, MiB/s"] = 1024 * 1000 / (performance.now() - begun);
    figures["1 GiB up, peak MiB"] = peakMib(daemon);
  }
  Deno.removeSync(top, { recursive: true });
  for (const path of [top, depot]) makeDir(path);
  await using daemon = await DaemonProcess.start(depot, [...args, "--read-only"]);
  const read = await timed(program, ["read", depot, 1, LARGE_BYTES], depot);
  figures["1 GiB down, MiB/s"] = 1024 / read.seconds;
  figures["1 GiB down, peak MiB"] = peakMib(daemon);
  return figures;
}

async function measure(program: string, args: readonly string[], files: number): Promise<Figures> {
  using dir = new TempDir();
  const place = { dir: dir.path, program, args, files };
  return {
    ...await measureSmall(place),
    ...await measureRestores(place),
    ...await measureLarge(place),
  };
}

/** The value after the flag. */
function option(name: string): string | undefined {
  const at = Deno.args.indexOf(name);
  return at < 0 ? undefined : Deno.args[at + 1];
}

const files = Number(option("--files") ?? 10_000);
using dir = new TempDir();
const program = `${dir.path}/engine_bench`, store = `${dir.path}/store`;
Deno.mkdirSync(store);
const source = new URL("./c/engine_bench.c", import.meta.url).pathname;
const built = await run("gcc", ["-O2", "-std=c11", "-o", program, source]);
if (built.code !== 0) throw new Error(`Cannot build the measuring program: ${built.stderr}`);

const all: Record<string, Figures> = {
  directory: await measure(program, ["--primary-type", "nfs", "--primary-path", store], files),
};
const binary = versitygwBinary();
if (binary === null) {
  console.log("versitygw is not there ('deno task test' builds it): no S3 figures");
} else {
  const server = await startVersitygw(binary);
  const { bucket, accessKey, secretKey } = server.config();
  Deno.env.set("AWS_ACCESS_KEY_ID", accessKey!);
  Deno.env.set("AWS_SECRET_ACCESS_KEY", secretKey!);
  const flags = ["--primary-type", "s3", "--primary-bucket", bucket];
  all.S3 = await measure(program, [...flags, "--primary-endpoint", server.endpoint], files);
  await server.end();
}
const storages = Object.keys(all);
console.log("".padEnd(28) + storages.map((name) => name.padStart(12)).join(""));
for (const name of Object.keys(all.directory!)) {
  const values = storages.map((storage) => {
    const value = all[storage]![name]!;
    return (value < 100 ? value.toFixed(2) : value.toFixed(0)).padStart(12);
  });
  console.log(name.padEnd(28) + values.join(""));
}
const json = option("--json");
if (json !== undefined) Deno.writeTextFileSync(json, JSON.stringify({ files, ...all }, null, 2));
