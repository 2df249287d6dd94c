/**
 * The speed of the whole, from outside:
 * `deno task bench:engine [--files N] [--dir DIR] [--json FILE]`.
 *
 * The compiled daemon under real writers and readers, with a local directory and with versitygw, a real
 * S3 server, as storage; all on one machine, so that storage, readers and daemon share its processors.
 *
 * @module
 */

import { DaemonProcess } from "../e2e/daemon_process.ts";
import { BUCKET, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import {
  buildProgram,
  cpuSeconds,
  type Figures,
  flush,
  follow,
  makeDir,
  option,
  peakMib,
  type Rates,
  report,
  setCredentials,
  statusOf,
  step,
  timed,
  workDir,
} from "./measuring.ts";

const SMALL_BYTES = 4096;
const MIDDLE_BYTES = 1024 ** 2, MIDDLE_FILES = 400;
const MEDIUM_BYTES = 64 * 1024 ** 2, MEDIUM_FILES = 6;
const LARGE_BYTES = 2 * 1024 ** 3;

/** Processes of the storm of restores. */
const READERS = 16;

interface Place {
  readonly dir: string;
  readonly program: string;
  readonly args: readonly string[];
  readonly files: number;
  /** How fast it went, for the plot. */
  readonly series: Record<string, Rates>;
}

/** Small files written, uploaded, and evicted again. */
async function measureSmall({ dir, program, args, files, series }: Place): Promise<Figures> {
  const alone = await timed(program, ["write", makeDir(`${dir}/alone`), files, SMALL_BYTES]);
  const depot = makeDir(`${dir}/depot`);
  const figures: Figures = {};
  {
    await using daemon = await DaemonProcess.start(depot, args);
    const cpuBefore = cpuSeconds(daemon), begun = performance.now();
    const writing = timed(program, ["write", depot, files, SMALL_BYTES]);
    const uploading = writing.then(() => flush(depot));
    series.drain = await follow(depot, (status) => status.totals.uploadsOk, uploading);
    const written = await writing;
    figures["4 KiB up, files/s"] = files * 1000 / (performance.now() - begun);
    figures["4 KiB up, CPU µs each"] = (cpuSeconds(daemon) - cpuBefore) * 1e6 / files;
    figures["writer slowed, ×"] = written.seconds / alone.seconds;
    await daemon.stop();
  }
  const least = ["--max-cache-bytes", "4096", "--low-watermark-bytes", "4096"];
  await using daemon = await DaemonProcess.start(depot, [...args, ...least]);
  const begun = performance.now();
  let evicted = 0;
  while (evicted < files) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    evicted = (await statusOf(depot)).totals.evictions;
  }
  figures["evicted, files/s"] = files * 1000 / (performance.now() - begun);
  await daemon.stop(); // the next one is another writer, and would wait for the lease of a dead one
  return figures;
}

/** Small files brought back: one after another, and by many at once. */
async function measureRestores({ dir, program, args, files, series }: Place): Promise<Figures> {
  const figures: Figures = {};
  for (const readers of [1, READERS]) {
    // Named as the depot was: that is the objects' prefix.
    const depot = makeDir(`${makeDir(`${dir}/readers${readers}`)}/depot`);
    await using _daemon = await DaemonProcess.start(depot, [...args, "--read-only"]);
    const count = readers === 1 ? Math.floor(files / 5) : files;
    const reading = timed(program, ["read", depot, count, SMALL_BYTES, readers], depot);
    const rates = await follow(depot, (status) => status.totals.restoresOk, reading);
    const read = await reading;
    if (readers > 1) series.restores = rates;
    if (readers === 1) figures["4 KiB restore, p50 µs"] = read.p50;
    if (readers === 1) figures["4 KiB restore, p99 µs"] = read.p99;
    if (readers > 1) figures[`restores by ${readers}, files/s`] = count / read.seconds;
    if (readers > 1) figures[`restores by ${readers}, p99 µs`] = read.p99;
  }
  return figures;
}

/** Files that a thread moves each. */
async function measureMiddle({ dir, program, args }: Place): Promise<Figures> {
  const depot = makeDir(`${makeDir(`${dir}/middle`)}/depot`);
  await using daemon = await DaemonProcess.start(depot, args);
  const cpuBefore = cpuSeconds(daemon), begun = performance.now();
  await timed(program, ["write", depot, MIDDLE_FILES, MIDDLE_BYTES]);
  await flush(depot);
  const seconds = (performance.now() - begun) / 1000, bytes = MIDDLE_FILES * MIDDLE_BYTES;
  const figures = {
    "1 MiB up, MB/s": bytes / 1e6 / seconds,
    "1 MiB up, CPU s/GiB": (cpuSeconds(daemon) - cpuBefore) * 1024 ** 3 / bytes,
  };
  await daemon.stop();
  return figures;
}

/** Files of some slices, one after another. */
async function measureMedium({ dir, program, args }: Place): Promise<Figures> {
  const depot = makeDir(`${makeDir(`${dir}/medium`)}/depot`);
  {
    await timed(program, ["write", depot, MEDIUM_FILES, MEDIUM_BYTES]);
    await using daemon = await DaemonProcess.start(depot, args);
    while ((await statusOf(depot)).files.clean < MEDIUM_FILES) await flush(depot);
    await daemon.stop();
  }
  Deno.removeSync(depot, { recursive: true });
  await using _daemon = await DaemonProcess.start(makeDir(depot), [...args, "--read-only"]);
  const read = await timed(program, ["read", depot, MEDIUM_FILES, MEDIUM_BYTES], depot);
  return { "64 MiB down, MB/s": MEDIUM_FILES * MEDIUM_BYTES / 1e6 / read.seconds };
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
    figures["2 GiB up, MB/s"] = LARGE_BYTES / 1000 / (performance.now() - begun);
    figures["2 GiB up, peak MiB"] = peakMib(daemon);
  }
  Deno.removeSync(top, { recursive: true });
  for (const path of [top, depot]) makeDir(path);
  await using daemon = await DaemonProcess.start(depot, [...args, "--read-only"]);
  const read = await timed(program, ["read", depot, 1, LARGE_BYTES], depot);
  figures["2 GiB down, MB/s"] = LARGE_BYTES / 1e6 / read.seconds;
  figures["2 GiB down, peak MiB"] = peakMib(daemon);
  return figures;
}

/** What came of one storage. */
interface Measured {
  readonly figures: Figures;
  readonly series: Record<string, Rates>;
}

async function measure(
  storage: string,
  program: string,
  args: readonly string[],
  files: number,
): Promise<Measured> {
  using dir = workDir();
  const series: Record<string, Rates> = {};
  const place = { dir: dir.path, program, args, files, series };
  const figures = {
    ...await step(`${storage}, small files`, measureSmall(place)),
    ...await step(`${storage}, small files restored`, measureRestores(place)),
    ...await step(`${storage}, files of 1 MiB`, measureMiddle(place)),
    ...await step(`${storage}, files of 64 MiB`, measureMedium(place)),
    ...await step(`${storage}, a file of 2 GiB`, measureLarge(place)),
  };
  return { figures, series };
}

const files = Number(option("--files") ?? 20_000);
using dir = workDir();
const program = await buildProgram(dir.path), store = makeDir(`${dir.path}/store`);
const all: Record<string, Measured> = {
  directory: await measure(
    "directory",
    program,
    ["--primary-type", "nfs", "--primary-path", store],
    files,
  ),
};
const binary = versitygwBinary();
if (binary === null) {
  console.log("versitygw is not there ('deno task test' builds it): no S3 figures");
} else {
  const server = await startVersitygw(binary);
  setCredentials(server.config());
  const flags = ["--primary-type", "s3", "--primary-bucket", BUCKET];
  all.S3 = await measure("S3", program, [...flags, "--primary-endpoint", server.endpoint], files);
  await server.end();
}
const storages = Object.keys(all);
console.log("".padEnd(28) + storages.map((name) => name.padStart(12)).join(""));
for (const name of Object.keys(all.directory!.figures)) {
  const values = storages.map((storage) => {
    const value = all[storage]!.figures[name]!;
    return (value < 100 ? value.toFixed(2) : value.toFixed(0)).padStart(12);
  });
  console.log(name.padEnd(28) + values.join(""));
}
report(all);
