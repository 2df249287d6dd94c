/**
 * `deno task sim:hosts [--seed N] [--minutes M] [--clusters K] [--trace]`: simulated clusters, one after
 * another; cluster k has seed N + k. A broken promise prints the cluster's seed.
 *
 * @module
 */

import { parseArgs } from "deno-std/cli/parse_args.js";
import { runCluster } from "./hosts/cluster.ts";

const flags = parseArgs(Deno.args, {
  string: ["seed", "minutes", "clusters"],
  boolean: ["trace"],
});
const seed = Number(flags.seed ?? 1), clusters = Number(flags.clusters ?? 20);
const minutes = Number(flags.minutes ?? 30);

const begunMs = performance.now();
const total = { steps: 0, writes: 0, served: 0, faults: 0, failovers: 0 };
for (let k = 0; k < clusters; k++) {
  const result = await runCluster(seed + k, minutes);
  for (const name of Object.keys(total) as (keyof typeof total)[]) total[name] += result[name];
  if (flags.trace) console.log(result.trace.join("\n"));
  if (result.violation === null) continue;
  console.log(
    `Broken promise after ${total.steps} steps: ${result.violation.message}\n` +
      `Again: deno task sim:hosts --clusters 1 --trace --minutes ${minutes} --seed ${seed + k}`,
  );
  Deno.exit(1);
}
console.log(
  `${clusters} clusters of ${minutes} minutes from seed ${seed}: ${total.writes} writes, ` +
    `${total.served} opens of fresh copies, ${total.faults} faults, ${total.failovers} failovers in ` +
    `${total.steps} steps; no promise broken; ${
      ((performance.now() - begunMs) / 1000).toFixed(0)
    } s`,
);
Deno.exit(0);
