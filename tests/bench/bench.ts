/**
 * Every benchmark, and one table of all that have a target:
 * `deno task bench [--dir DIR] [--files N] [--json FILE]`. Depots are made in the directory (/var/tmp unless
 * told otherwise), which should be on a filesystem with a journal and 8 GB of room; those that need no journal
 * take up to 17 GB of /var/tmp. Writes the figures as JSON (build/bench.json unless told otherwise) and the
 * rates of drain and restores as a plot (docs/explanation/rates.svg).
 *
 * @module
 */

import { type Figures, option, type Rates } from "./measuring.ts";
import { type Panel, plot } from "./plot.ts";
import { reached, TARGETS } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Those that measure against targets, and those that only tell. */
const MEASURED = [
  "engine_bench",
  "start_bench",
  "storm_bench",
  "distance_bench",
  "shim_bench",
  "scale_bench",
];
const TOLD = ["storage_bench", "eviction_bench"];

/** Longest time of one of them, ms: something is wrong then. */
const PATIENCE_MS = 15 * 60_000;

/** What one storage gave. */
interface Measured {
  readonly figures: Figures;
  readonly series: Record<string, Rates>;
}

function command(name: string, args: readonly string[]): [string, string[]] {
  return [Deno.execPath(), ["run", "-A", "--no-check", `${ROOT}tests/bench/${name}.ts`, ...args]];
}

/** Runs the benchmark, which prints as it goes. @throws Error when it fails. */
async function told(name: string, args: readonly string[]): Promise<void> {
  const since = ((performance.now() - begun) / 60_000).toFixed(1);
  console.log(`\n${name}, after ${since} minutes`);
  const [program, all] = command(name, args);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const child = new Deno.Command(program, { args: all, stdin: "null", signal }).spawn();
  const { code } = await child.status;
  if (code !== 0) throw new Error(`Cannot measure ${name}: it ended with ${code}`);
}

/** The same; returns what it measured by storage. */
async function measured(name: string, args: readonly string[]): Promise<Record<string, Measured>> {
  const json = await Deno.makeTempFile({ suffix: ".json" });
  try {
    await told(name, [...args, "--json", json]);
    return JSON.parse(await Deno.readTextFile(json));
  } finally {
    await Deno.remove(json);
  }
}

function table(all: Readonly<Record<string, Measured>>): string {
  const storages = Object.keys(all);
  const cell = (text: string) => text.padStart(22);
  const lines = [
    "figure (× of its target)".padEnd(34) + storages.map(cell).join("") + cell("target"),
  ];
  const names = new Set(storages.flatMap((storage) => Object.keys(all[storage]!.figures)));
  for (const name of names) {
    const target = TARGETS[name];
    const cells = storages.map((storage) => {
      const value = all[storage]!.figures[name];
      if (value === undefined) return cell("–");
      const ratio = target === undefined ? "" : ` (×${reached(value, target).toFixed(2)})`;
      return cell(`${value < 100 ? value.toFixed(2) : value.toFixed(0)}${ratio}`);
    });
    const aim = target === undefined ? "" : `${target.more ? "≥" : "≤"} ${target.value}`;
    lines.push(name.padEnd(34) + cells.join("") + cell(aim));
  }
  return lines.join("\n");
}

function panels(all: Readonly<Record<string, Measured>>): Panel[] {
  const linesOf = (name: string) =>
    Object.fromEntries(
      Object.entries(all)
        .filter(([, { series }]) => series[name] !== undefined)
        .map(([storage, { series }]) => [storage, series[name]!]),
    );
  return [
    { title: "Small files uploaded, a second", lines: linesOf("drain") },
    { title: "Small files restored for 16 readers, a second", lines: linesOf("restores") },
  ];
}

function writeFigures(): void {
  const figures = Object.fromEntries(
    Object.entries(all).map(([storage, { figures }]) => [storage, figures]),
  );
  Deno.writeTextFileSync(
    option("--json") ?? `${ROOT}build/bench.json`,
    JSON.stringify({ figures, targets: TARGETS }, null, 2),
  );
}

const begun = performance.now();
const all: Record<string, Measured> = {};
let failed = false;
/** The others are measured all the same. */
function failure(error: unknown): Record<string, Measured> {
  console.error(error instanceof Error ? error.message : error);
  failed = true;
  return {};
}

for (const name of MEASURED) {
  const args = ["--dir", option("--dir") ?? "/var/tmp"];
  const files = option("--files");
  if (files !== undefined && name === "engine_bench") args.push("--files", files);
  for (
    const [storage, { figures, series }] of Object.entries(
      await measured(name, args).catch(failure),
    )
  ) {
    const before = all[storage] ?? { figures: {}, series: {} };
    all[storage] = {
      figures: { ...before.figures, ...figures },
      series: { ...before.series, ...series },
    };
  }
  writeFigures(); // as far as they are: the whole takes long
}
if (!failed) Deno.writeTextFileSync(`${ROOT}docs/explanation/rates.svg`, plot(panels(all)));
for (const name of TOLD) await told(name, []).catch(failure);
console.log(`\n${table(all)}`);
console.log(`\nAll of it took ${((performance.now() - begun) / 60_000).toFixed(1)} minutes`);
if (failed) Deno.exit(1);
