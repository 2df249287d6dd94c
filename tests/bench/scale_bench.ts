/**
 * What grows with the number of tracked files:
 * `deno task bench:scale [ROWS…] [--keep DIR] [--json FILE]`, by default one million and ten million.
 * A million rows take some 350 MB of disk below /var/tmp and some seconds.
 *
 * Each size gets a manifest of clean files that are only in it, and the daemon is started over it without
 * a scan, with nothing of it in memory. With `--keep DIR` the manifests are made there and stay, so that
 * another run finds them.
 *
 * @module
 */

import { dirname } from "node:path/posix";
import { askDaemon } from "../../src/commands/control_client.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";
import { DaemonProcess, run, TempDir } from "../e2e/daemon_process.ts";
import { fillManifest, pathOf } from "./manifest_fill.ts";
import { cpuSeconds, type Figures, flush, option, report, statusOf } from "./measuring.ts";

/** Files written while the daemon runs: new ones in one directory, and tracked ones far from one another. */
const WRITTEN = 5000, WRITTEN_BYTES = 4096;

/** After the load: what it left is given back meanwhile. */
const REST_MS = 15_000;

/** For all that the rows tell of: nothing is evicted meanwhile. */
const ROOM = ["--max-cache-gb", "100000", "--low-watermark-gb", "90000"];

/** Requests whose median is taken. */
const MISSES = 500, QUESTIONS = 20;

/** Pages of the coldest files, one after another, whose median is taken. */
const PAGES = 20;

/** Time between two lines about a manifest that is being made, ms. */
const TELL_EVERY_MS = 10_000;

/** The columns, by their figures. */
const COLUMNS = [
  "rows",
  "disk, MiB",
  "start, ms",
  "anonymous, MiB",
  "miss, µs",
  "status, ms",
  "metrics, ms",
  "coldest, ms",
  "new/s",
  "CPU µs",
  "changed/s",
  "CPU µs each",
  "anon. after",
  "at rest",
] as const;

type Row = Record<typeof COLUMNS[number], number>;

async function medianMs(times: number, work: (i: number) => Promise<unknown>): Promise<number> {
  const took: number[] = [];
  for (let i = 0; i < times; i++) {
    const begun = performance.now();
    await work(i);
    took.push(performance.now() - begun);
  }
  return took.sort((a, b) => a - b)[times >> 1]!;
}

async function makeManifest(dir: string, rows: number): Promise<void> {
  Deno.mkdirSync(dir, { recursive: true });
  let toldMs = performance.now();
  await fillManifest(dir, rows, (share) => {
    if (performance.now() - toldMs < TELL_EVERY_MS) return;
    toldMs = performance.now();
    console.log(`  ${rows} rows: ${Math.round(share * 100)} % made`);
  });
}

/** Takes the file out of the system's cache, so that the start finds nothing in memory. */
async function forgetCached(path: string): Promise<void> {
  const { code, stderr } = await run("dd", [`if=${path}`, "iflag=nocache", "count=0"]);
  if (code !== 0) throw new Error(stderr);
}

/** Time of a page of those that an eviction would take first, ms. */
async function coldestMs(dir: string): Promise<number> {
  const manifest = openManifest(dir, (path) => path, (error) => {
    if (error !== null) throw error;
  }, "lru2");
  let key = "";
  const took = await medianMs(PAGES, async () => {
    key = (await manifest.coldestAfter(key)).at(-1)?.key ?? "";
  });
  await manifest.close();
  return took;
}

/** Writes the files and waits until all are uploaded; returns the rate, and the processor time of each, µs. */
async function upload(daemon: DaemonProcess, paths: readonly string[]): Promise<[number, number]> {
  const { depot } = daemon;
  for (const dir of new Set(paths.map((path) => dirname(path)))) {
    Deno.mkdirSync(`${depot}/${dir}`, { recursive: true });
  }
  await flush(depot);
  const uploaded = (await statusOf(depot)).totals.uploadsOk;
  const cpuBefore = cpuSeconds(daemon), begun = performance.now();
  for (const path of paths) Deno.writeFileSync(`${depot}/${path}`, new Uint8Array(WRITTEN_BYTES));
  await flush(depot);
  const took = performance.now() - begun;
  const missing = uploaded + paths.length - (await statusOf(depot)).totals.uploadsOk;
  if (missing > 0) throw new Error(`${missing} of ${paths.length} files were not uploaded`);
  return [paths.length * 1000 / took, (cpuSeconds(daemon) - cpuBefore) * 1e6 / paths.length];
}

async function measure(rows: number, dir: string): Promise<Row> {
  const depot = `${dir}/depot`, store = `${dir}/store`, manifest = `${depot}/.p4cache/manifest`;
  Deno.mkdirSync(store, { recursive: true });
  const isThere = await Deno.stat(`${manifest}/data.mdb`).then(() => true, () => false);
  if (!isThere) await makeManifest(manifest, rows);
  const diskMib = Deno.statSync(`${manifest}/data.mdb`).blocks! * 512 / 2 ** 20;
  await forgetCached(`${manifest}/data.mdb`);
  const coldest = await coldestMs(manifest);
  await forgetCached(`${manifest}/data.mdb`);
  const flags = ["--primary-type", "nfs", "--primary-path", store, "--skip-startup-scan"];
  const begun = performance.now();
  await using daemon = await DaemonProcess.start(depot, [...flags, ...ROOM]);
  const startMs = performance.now() - begun, anonymous = daemon.anonymousMib;
  const miss = await medianMs(MISSES, (i) => daemon.fetch(`no/such/file${i}`));
  const status = await medianMs(QUESTIONS, () => askDaemon(depot, "status"));
  const metrics = await medianMs(QUESTIONS, () => askDaemon(depot, "metrics"));
  const run = crypto.randomUUID();
  const numbers = Array.from({ length: WRITTEN }, (_, i) => i);
  const [fresh, freshCpu] = await upload(daemon, numbers.map((i) => `new/${run}/${i}`));
  const apart = Math.max(rows, 1_000_000) / WRITTEN;
  const far = numbers.map((i) => pathOf(Math.floor((i + Math.random()) * apart)));
  const [changed, changedCpu] = await upload(daemon, far);
  const after = daemon.anonymousMib;
  await new Promise((resolve) => setTimeout(resolve, REST_MS));
  const atRest = daemon.anonymousMib;
  await daemon.stop();
  return {
    "rows": rows,
    "disk, MiB": diskMib,
    "start, ms": startMs,
    "anonymous, MiB": anonymous,
    "miss, µs": miss * 1000,
    "status, ms": status,
    "metrics, ms": metrics,
    "coldest, ms": coldest,
    "new/s": fresh,
    "CPU µs": freshCpu,
    "changed/s": changed,
    "CPU µs each": changedCpu,
    "anon. after": after,
    "at rest": atRest,
  };
}

/** Those that have targets, by names of their own. */
function figuresOf(row: Row): Figures {
  return {
    [`start with ${row.rows} tracked, s`]: row["start, ms"] / 1000,
    [`memory with ${row.rows} tracked, MiB`]: row["anonymous, MiB"],
  };
}

const cells = (values: readonly string[]) =>
  values.map((value, i) => value.padStart(Math.max(COLUMNS[i]!.length, 9) + 2)).join("");

const named = Deno.args.filter((arg) => /^\d+$/.test(arg)).map(Number);
const sizes = [0, ...named.length > 0 ? named : [1_000_000, 10_000_000]];
const kept = option("--keep");
const table: Row[] = [];
for (const rows of sizes) {
  using dir = kept === undefined ? new TempDir() : null;
  table.push(await measure(rows, dir?.path ?? `${kept}/${rows}`));
  console.log(`  ${rows} rows measured`);
}
console.log(cells(COLUMNS));
for (const row of table) {
  console.log(cells(COLUMNS.map((name) => row[name].toFixed(row[name] < 100 ? 1 : 0))));
}
const figures = Object.assign({}, ...table.map(figuresOf));
report({ directory: { figures, series: {} } });
