/**
 * `deno task sim [--seed N] [--steps M] [--jobs J] [--renames] [--trace]`: simulated worlds, one after
 * another, until M steps have been made; world k has seed N + k. A broken promise prints the world's seed;
 * with that `--seed` it happens again, step by step, and `--trace` tells each, with the daemon's log. With
 * `--renames` every world renames directories, and often.
 *
 * @module
 */

import { parseArgs } from "deno-std/cli/parse_args.js";
import { runEpisode } from "./episode.ts";

/** Hostile steps of one world. */
const EPISODE_STEPS = 4000;

const flags = parseArgs(Deno.args, {
  string: ["seed", "steps", "jobs"],
  boolean: ["trace", "renames"],
});
const seed = Number(flags.seed ?? 1);
const steps = Number(flags.steps ?? 1_000_000);
const jobs = Number(flags.jobs ?? 1);

if (jobs > 1) await runJobs();
else await runHere();

/** A process for each processor; each has its own range of seeds. */
async function runJobs(): Promise<void> {
  const perJob = Math.ceil(steps / jobs);
  const children = Array.from({ length: jobs }, (_, i) =>
    new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        import.meta.filename!,
        `--seed=${seed + i * 1_000_000}`,
        `--steps=${perJob}`,
        ...(flags.trace ? ["--trace"] : []),
        ...(flags.renames ? ["--renames"] : []),
      ],
    }).spawn());
  const codes = await Promise.all(children.map(async (child) => (await child.status).code));
  Deno.exit(codes.some((code) => code !== 0) ? 1 : 0);
}

async function runHere(): Promise<void> {
  const clock = performance.now.bind(performance);
  const begun = clock();
  let done = 0, worlds = 0;
  const total = { kills: 0, stored: 0, evicted: 0, restored: 0, cameBack: 0 };
  while (done < steps) {
    const result = await runEpisode(seed + worlds, EPISODE_STEPS, flags);
    done += result.steps;
    for (const name of Object.keys(total) as (keyof typeof total)[]) {
      total[name] += result.counts[name];
    }
    if (flags.trace) console.log(result.trace.join("\n"));
    if (result.violation !== null) {
      console.log(
        `Broken promise after ${done} steps: ${result.violation.message}\n` +
          `Again: deno task sim --seed ${seed + worlds} --steps 1 ${
            flags.renames ? "--renames " : ""
          }--trace`,
      );
      Deno.exit(1);
    }
    worlds++;
  }
  const seconds = (clock() - begun) / 1000;
  console.log(
    `${done} steps in ${worlds} worlds from seed ${seed}: ${total.stored} puts, ${total.evicted} ` +
      `evictions, ${total.restored} restores, ${total.kills} kills, ${total.cameBack} unseen deletes ` +
      `taken back; no promise broken; ${seconds.toFixed(0)} s`,
  );
}
