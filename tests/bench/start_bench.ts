/**
 * The start on a depot that nobody knows yet, how fast all that it has is uploaded, and what an idle
 * daemon takes that knows it: `deno task bench:start [--files N] [--dir DIR] [--json FILE]`.
 *
 * @module
 */

import { DaemonProcess } from "../e2e/daemon_process.ts";
import { buildProgram, cpuSeconds, type Figures, flush, makeDir, option } from "./measuring.ts";
import { report, statusOf, step, timed, workDir } from "./measuring.ts";

/** From the last upload on: what the load left is collected meanwhile. */
const SETTLE_SECONDS = 30;

const IDLE_SECONDS = 20;

/** Bytes of each file: what is in them does not matter to a scan. */
const FILE_BYTES = 16;

/** So slow that nothing but the scan goes on. */
const NO_UPLOADS = ["--upload-bandwidth", "1KB"];

const seconds = (time: number) => new Promise((resolve) => setTimeout(resolve, time * 1000));

async function measureScan(depot: string, args: readonly string[], files: number) {
  const begun = performance.now();
  await using daemon = await DaemonProcess.start(depot, [...args, ...NO_UPLOADS]);
  const answersMs = performance.now() - begun;
  while ((await statusOf(depot)).files.total < files) await seconds(0.01);
  return {
    [`${files} found by the scan, s`]: (performance.now() - begun) / 1000,
    "start until it answers, s": answersMs / 1000,
    [`${files} found, CPU s`]: cpuSeconds(daemon),
  };
}

/** Of what it found, and then with nothing to do. */
async function measureDrain(depot: string, args: readonly string[], files: number) {
  const quiet = ["--stats-interval", "0", "--metrics-file", `${depot}.prom`];
  const begun = performance.now();
  await using daemon = await DaemonProcess.start(depot, [...args, ...quiet]);
  while ((await statusOf(depot)).files.clean < files) await flush(depot);
  const figures: Figures = {
    [`${files} found, up, files/s`]: files * 1000 / (performance.now() - begun),
    [`${files} found, up, CPU µs each`]: cpuSeconds(daemon) * 1e6 / files,
  };
  await seconds(SETTLE_SECONDS);
  const before = cpuSeconds(daemon);
  await seconds(IDLE_SECONDS);
  const status = Deno.readTextFileSync(`/proc/${daemon.pid}/status`);
  figures[`idle with ${files}, % CPU`] = (cpuSeconds(daemon) - before) * 100 / IDLE_SECONDS;
  figures[`idle with ${files}, MiB`] = Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024;
  return figures;
}

using dir = workDir();
const files = Number(option("--files") ?? 200_000);
const program = await buildProgram(dir.path);

/** Another depot for each: what a daemon looks at again that comes after a killed one is not what is measured. */
async function newDepot(name: string): Promise<[depot: string, args: readonly string[]]> {
  const depot = makeDir(`${dir.path}/${name}`);
  await timed(program, ["write", depot, files, FILE_BYTES]);
  return [depot, ["--primary-type", "nfs", "--primary-path", makeDir(`${dir.path}/${name}.store`)]];
}

const figures: Figures = {
  ...await step(`${files} files found`, measureScan(...await newDepot("scanned"), files)),
  ...await step("uploaded, and idle", measureDrain(...await newDepot("drained"), files)),
};
for (const [name, value] of Object.entries(figures)) {
  console.log(name.padEnd(40) + value.toFixed(3).padStart(10));
}
report({ directory: { figures, series: {} } });
