/**
 * Every benchmark, and one table of all that have a target: `deno task bench [--files N] [--json FILE]`.
 * Writes the figures as JSON (build/bench.json unless told otherwise) and the rates of drain and
 * restores as a plot (docs/explanation/rates.svg).
 *
 * @module
 */

import { run } from "../e2e/daemon_process.ts";
import { type Figures, option, type Rates } from "./measuring.ts";
import { type Panel, plot } from "./plot.ts";
import { reached, TARGETS } from "./targets.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

/** Those that measure against targets, and those that only tell. */
const MEASURED = ["engine_bench", "start_bench", "storm_bench"];
const TOLD = ["storage_bench", "shim_bench", "eviction_bench", "scale_bench"];

/** What one storage gave. */
interface Measured {
  readonly figures: Figures;
  readonly series: Record<string, Rates>;
}

function command(name: string, args: readonly string[]): [string, string[]] {
  return [Deno.execPath(), ["run", "-A", "--no-check", `${ROOT}tests/bench/${name}.ts`, ...args]];
}

/** Runs the benchmark; returns what it measured by storage. */
async function measured(name: string, args: readonly string[]): Promise<Record<string, Measured>> {
  const json = await Deno.makeTempFile({ suffix: ".json" });
  try {
    const [program, all] = command(name, [...args, "--json", json]);
    const { code, stderr } = await run(program, all);
    if (code !== 0) throw new Error(`Cannot measure ${name}: ${stderr}`);
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

const files = option("--files");
const all: Record<string, Measured> = {};
for (const name of MEASURED) {
  console.log(`${name} …`);
  const args = files !== undefined && name === "engine_bench" ? ["--files", files] : [];
  for (const [storage, { figures, series }] of Object.entries(await measured(name, args))) {
    const before = all[storage] ?? { figures: {}, series: {} };
    all[storage] = {
      figures: { ...before.figures, ...figures },
      series: { ...before.series, ...series },
    };
  }
  // As far as it is: the whole takes long.
  console.log(table(all));
  writeFigures();
}
Deno.writeTextFileSync(`${ROOT}docs/explanation/rates.svg`, plot(panels(all)));
for (const name of TOLD) {
  console.log(`\n${name}`);
  const [program, args] = command(name, []);
  await new Deno.Command(program, { args, stdin: "null" }).spawn().status;
}
