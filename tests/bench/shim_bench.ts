/**
 * What the preload library costs: `deno task bench:shim [OTHER_SHIM.so] [--json FILE]`.
 *
 * Each row is measured without a shim, with ours and, where its path is given, with another one, in turns,
 * in one run against one daemon with a local directory as storage. Short calls are compared with the C
 * library's own in the same process, a few of each at a time.
 *
 * @module
 */

import { DaemonProcess, run, SHIM, TempDir } from "../e2e/daemon_process.ts";
import { report } from "./measuring.ts";

const TURNS = 7;

/** How many files are missed, once each, in a turn. */
const MISSES = 500;

interface Row {
  readonly name: string;
  readonly operation: string;
  /** Path; for each turn and shim another one where a file can be missed but once. */
  readonly path: (unique: string) => string;
  readonly count: number;
  /** What ours may add, ns; of a time as a whole, the most it may be. */
  readonly target: number | null;
  readonly isWhole?: boolean;
}

const [other] = Deno.args[0]?.startsWith("--") ? [] : Deno.args;
using dir = new TempDir();
const depot = `${dir.path}/depot`, store = `${dir.path}/store`, bench = `${dir.path}/bench`;
for (const path of [depot, store, `${depot}/main`, `${store}/main`]) Deno.mkdirSync(path);
for (let i = 0; i < 100; i++) Deno.writeTextFileSync(`${depot}/main/warm${i}`, "warm");
Deno.writeTextFileSync(`${dir.path}/outside`, "");
const empty = `${dir.path}/empty.so`;
await compile(["-o", bench, new URL("./c/shim_bench.c", import.meta.url).pathname]);
await compile(["-shared", "-fPIC", "-o", empty, "-x", "c", "/dev/null"]);

async function compile(args: readonly string[]): Promise<void> {
  const { code, stderr } = await run("gcc", ["-O2", "-w", ...args]);
  if (code !== 0) throw new Error(`Cannot build what measures: ${stderr}`);
}

/** Files in the storage only, of 4 KiB. */
function evict(unique: string): string {
  const content = new Uint8Array(4096);
  for (let i = 0; i < MISSES; i++) Deno.writeFileSync(`${store}/main/${unique}-${i}`, content);
  return `${depot}/main/${unique}-`;
}

const WARM = "open + close, in the depot, one file";
const REPEATED = "open of a file that was absent just now";
const START = "start of /bin/true";
const QUESTION = "a byte to another process and back, p50";
const MISS = "first open of an absent file, p50", MISS_99 = "the same, p99";

const ROWS: readonly Row[] = [
  {
    name: WARM,
    operation: "open",
    path: () => `${depot}/main/warm1`,
    count: 2000,
    target: 22,
  },
  {
    name: "open + close, in the depot, a hundred files",
    operation: "open many",
    path: () => `${depot}/main/warm`,
    count: 2000,
    target: null,
  },
  {
    name: "open + close, outside",
    operation: "open",
    path: () => `${dir.path}/outside`,
    count: 2000,
    target: 10,
  },
  {
    name: "stat, in the depot",
    operation: "stat",
    path: () => `${depot}/main/warm1`,
    count: 2000,
    target: 10,
  },
  {
    name: "stat of a file that was absent just now",
    operation: "stat",
    path: () => `${depot}/main/none`,
    count: 2000,
    target: 80,
  },
  {
    name: REPEATED,
    operation: "open",
    path: () => `${depot}/main/none`,
    count: 2000,
    target: 80,
  },
  {
    name: START,
    operation: "start",
    path: () => "/bin/true",
    count: 100,
    target: 60_000,
  },
  {
    name: QUESTION,
    operation: "question",
    path: () => "",
    count: 10 * MISSES,
    target: null,
    isWhole: true,
  },
  {
    name: MISS,
    operation: "each",
    path: (unique) => `${depot}/main/absent-${unique}-`,
    count: MISSES,
    target: 100_000,
    isWhole: true,
  },
  {
    name: MISS_99,
    operation: "each 99",
    path: (unique) => `${depot}/main/absent-99-${unique}-`,
    count: MISSES,
    target: 170_000,
    isWhole: true,
  },
  {
    name: "first open of an evicted file (4 KiB), p50",
    operation: "each",
    path: evict,
    count: MISSES,
    target: null,
    isWhole: true,
  },
];

/** ns in one turn under one shim: what the C library takes, and what the shim adds where that is known. */
async function measure(row: Row, shim: string | null, unique: string): Promise<number[]> {
  const env: Record<string, string> = { P4CACHE_DEPOT: depot, P4CACHE_NEGATIVE_TTL: "600" };
  if (shim !== null) env[row.operation === "start" ? "PRELOAD" : "LD_PRELOAD"] = shim;
  const args = [row.operation, row.path(unique), String(row.count)];
  return (await run(bench, args, { env })).stdout.trim().split(" ").map(Number);
}

const median = (values: number[]) => values.sort((a, b) => a - b)[values.length >> 1]!;

/** What each shim adds, the median of the turns; of rows that are a whole, the time itself. */
async function compare(
  row: Row,
  shims: readonly string[],
): Promise<{ plain: number; adds: number[] }> {
  const plain: number[] = [], adds = shims.map((): number[] => []);
  for (let turn = 0; turn < TURNS; turn++) {
    const [none] = await measure(row, null, `${turn}-none`);
    plain.push(none!);
    for (const [i, shim] of shims.entries()) {
      const [time, added] = await measure(row, shim, `${turn}-${i}`);
      adds[i]!.push(row.isWhole === true ? time! : added ?? time! - none!);
    }
  }
  return { plain: median(plain), adds: adds.map(median) };
}

const shims = [SHIM, ...(other === undefined ? [] : [other])];
await using _daemon = await DaemonProcess.start(depot, [
  "--primary-type",
  "nfs",
  "--primary-path",
  store,
]);
console.log(`${shims.join(", ")}\nns, the median of ${TURNS} turns`);
const line = (cells: readonly string[]) =>
  cells.map((cell, i) => i === 0 ? cell.padEnd(46) : cell.padStart(12)).join("");
const compared = other === undefined ? [] : ["other adds", "ours/other"];
console.log(line(["", "no shim", "ours adds", "may add", ...compared]));
const times = new Map<string, number>();
for (const row of ROWS) {
  const { plain, adds: [ours, theirs] } = await compare(row, shims);
  times.set(row.name, ours!);
  const numbers = [
    plain,
    ours!,
    row.target,
    theirs,
    theirs === undefined ? theirs : ours! / theirs,
  ];
  const cells = numbers.filter((n) => n !== undefined).map((n) => n === null ? "-" : n.toFixed(1));
  console.log(line([row.name, ...cells]));
}
// What the loader takes for one library more is in each start, whatever the library does.
const { adds: [nothing] } = await compare(ROWS.find(({ name }) => name === START)!, [empty]);
console.log(`A library that does nothing adds ${nothing!.toFixed(1)} to the start of /bin/true`);
// What the machine takes for a question to another process is in each miss, whoever answers.
const ratio = times.get(MISS)! / times.get(QUESTION)!;
console.log(`A miss takes ${ratio.toFixed(1)} times what a byte to another process and back takes`);
const figures = {
  "shim: warm open + close, adds ns": times.get(WARM)!,
  "shim: repeated miss, adds ns": times.get(REPEATED)!,
  "shim: first miss, p50 µs": times.get(MISS)! / 1000,
  "shim: first miss, p99 µs": times.get(MISS_99)! / 1000,
  "shim: exec, adds µs": times.get(START)! / 1000,
};
report({ directory: { figures, series: {} } });
