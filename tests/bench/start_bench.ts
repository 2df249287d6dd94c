/**
 * The start on a depot that nobody knows yet, and what an idle daemon takes:
 * `deno task bench:start [--files N] [--json FILE]`.
 *
 * @module
 */

import { DaemonProcess, TempDir } from "../e2e/daemon_process.ts";
import { buildProgram, cpuSeconds, type Figures, makeDir, option, report } from "./measuring.ts";
import { statusOf, timed } from "./measuring.ts";

const IDLE_SECONDS = 20;

/** Bytes of each file: what is in them does not matter to a scan. */
const FILE_BYTES = 16;

/** So slow that nothing but the scan goes on. */
const NO_UPLOADS = ["--upload-bandwidth", "1KB"];

async function measureScan(dir: string, store: string, files: number): Promise<Figures> {
  const depot = makeDir(`${dir}/depot`);
  await timed(await buildProgram(dir), ["write", depot, files, FILE_BYTES]);
  const begun = performance.now();
  const flags = ["--primary-type", "nfs", "--primary-path", store, ...NO_UPLOADS];
  await using daemon = await DaemonProcess.start(depot, flags);
  const answersMs = performance.now() - begun;
  while ((await statusOf(depot)).files.total < files) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return {
    [`${files} found by the scan, s`]: (performance.now() - begun) / 1000,
    "start until it answers, s": answersMs / 1000,
    [`${files} found, CPU s`]: cpuSeconds(daemon),
  };
}

async function measureIdle(dir: string, store: string): Promise<Figures> {
  const depot = makeDir(`${dir}/idle`);
  const flags = ["--primary-type", "nfs", "--primary-path", store, "--stats-interval", "0"];
  const metrics = ["--metrics-file", `${dir}/m.prom`, "--metrics-interval", "1"];
  await using daemon = await DaemonProcess.start(depot, [...flags, ...metrics]);
  await new Promise((resolve) => setTimeout(resolve, 5000));
  const before = cpuSeconds(daemon);
  await new Promise((resolve) => setTimeout(resolve, IDLE_SECONDS * 1000));
  const status = Deno.readTextFileSync(`/proc/${daemon.pid}/status`);
  return {
    "idle, % CPU": (cpuSeconds(daemon) - before) * 100 / IDLE_SECONDS,
    "idle, MiB": Number(/VmRSS:\s+(\d+)/.exec(status)![1]) / 1024,
  };
}

using dir = new TempDir();
const store = makeDir(`${dir.path}/store`);
const figures = {
  ...await measureScan(dir.path, store, Number(option("--files") ?? 200_000)),
  ...await measureIdle(dir.path, store),
};
for (const [name, value] of Object.entries(figures)) {
  console.log(name.padEnd(40) + value.toFixed(3).padStart(10));
}
report({ directory: { figures, series: {} } });
