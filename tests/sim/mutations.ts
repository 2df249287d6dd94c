/**
 * `deno task sim:mutations [--only TEXT] [--part K/N] [--steps M] [--write]`: plants each bug in a copy of
 * the program, and runs the simulation until it breaks a promise. Fails when a bug is not found, or can no
 * longer be planted. With `--write` its row in docs/explanation/simulation.md is written anew; those of
 * bugs that were not chosen stay.
 *
 * @module
 */

import { parseArgs } from "deno-std/cli/parse_args.js";
import { copyProject, plant } from "../mutations/planting.ts";
import { PLANTED_BUGS, type PlantedBug } from "./planted_bugs.ts";
import { PLANTED_HOST_BUGS } from "./planted_host_bugs.ts";

const ROOT = new URL("../../", import.meta.url).pathname;
const PAGE = `${ROOT}docs/explanation/simulation.md`;
const BEGIN = "<!-- table of planted bugs: written by deno task sim:mutations -->",
  END = "<!-- end -->";

/** Copies looked at side by side. */
const AT_ONCE = 2;

/** Clusters that are run for a bug of several hosts. */
const CLUSTERS = 60;

const flags = parseArgs(Deno.args, { string: ["only", "part", "steps"], boolean: ["write"] });
const steps = Number(flags.steps ?? 6_000_000);

/** How a bug was found. */
interface Found {
  readonly bug: PlantedBug;
  readonly promise: string;
  readonly steps: number;
  readonly seed: string;
}

/** Runs the simulation of a copy with the bug in it; null when it found nothing. */
async function find(bug: PlantedBug): Promise<Found | null> {
  const dir = Deno.makeTempDirSync({ prefix: "planted" });
  try {
    copyProject(dir);
    plant(bug.name, bug.edits, dir);
    const program = PLANTED_HOST_BUGS.includes(bug)
      ? [`${dir}/tests/sim/hosts.ts`, `--clusters=${CLUSTERS}`]
      : [`${dir}/tests/sim/sim.ts`, `--steps=${steps}`, ...(bug.inRenames ? ["--renames"] : [])];
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", ...program],
      env: { NO_COLOR: "1" },
    }).output();
    const text = new TextDecoder().decode(stdout);
    const broken = /Broken promise after (\d+) steps: ([PF]\d)/.exec(text);
    const seed = /--seed (\d+)/.exec(text)?.[1];
    if (broken === null && !text.includes("no promise broken")) {
      throw new Error(`'${bug.name}' does not run: ${new TextDecoder().decode(stderr)}`);
    }
    if (broken === null || seed === undefined) return null;
    return { bug, promise: broken[2]!, steps: Number(broken[1]), seed };
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

const rowOf = ({ bug, promise, steps, seed }: Found) =>
  `| ${bug.name} | ${promise} | ${steps} | ${seed} |`;

/** @param results By bug; a bug without one keeps its row, if it has one. */
function writeTable(results: ReadonlyMap<PlantedBug, Found | null>): void {
  const page = Deno.readTextFileSync(PAGE);
  const [before, after] = [page.indexOf(BEGIN) + BEGIN.length, page.indexOf(END)];
  const old = new Map(
    page.slice(before, after).split("\n").map((row) => {
      const [, name = ""] = row.split("|");
      return [name.trim(), row] as const;
    }),
  );
  const rows = BUGS.map((bug) => {
    const result = results.get(bug);
    return result === undefined ? old.get(bug.name) : result === null ? undefined : rowOf(result);
  });
  const table = [
    "| planted bug | breaks | steps until found | seed |",
    "| --- | --- | --: | --: |",
    ...rows.filter((row) => row !== undefined),
  ];
  Deno.writeTextFileSync(
    PAGE,
    `${page.slice(0, before)}\n\n${table.join("\n")}\n\n${page.slice(after)}`,
  );
}

const BUGS = [...PLANTED_BUGS, ...PLANTED_HOST_BUGS];
const [part, parts] = (flags.part ?? "1/1").split("/").map(Number);
const waiting = BUGS.filter(({ name }, i) =>
  name.includes(flags.only ?? "") && i % parts! === part! - 1
);
const results = new Map<PlantedBug, Found | null>();
const queue = [...waiting];
await Promise.all(Array.from({ length: AT_ONCE }, async () => {
  for (let bug = queue.shift(); bug !== undefined; bug = queue.shift()) {
    const found = await find(bug);
    results.set(bug, found);
    const how = found === null
      ? "NOT FOUND"
      : `${found.promise} after ${found.steps} steps, seed ${found.seed}`;
    console.log(`${bug.name}: ${how}`);
  }
}));
const found = [...results.values()].filter((each) => each !== null);
console.log(`${found.length} of ${waiting.length} planted bugs found`);
if (flags.write) writeTable(results);
Deno.exit(found.length === waiting.length ? 0 : 1);
