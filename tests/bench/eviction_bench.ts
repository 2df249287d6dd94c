/**
 * Prints how many of people's reads find their file in the cache, for each eviction policy and trace.
 *
 * @module
 */

import { POLICIES } from "./eviction_policies.ts";
import { BEGIN_SECONDS, FILES, TRACES } from "./eviction_traces.ts";

/** Share of people's reads that hit, after the first day. */
export function hitRate(policy: string, trace: string, capacity: number): number {
  const cache = POLICIES[policy]!(capacity);
  let hits = 0, reads = 0;
  for (const { file, seconds, byPeople } of TRACES[trace]!()) {
    const hit = cache.access(file, BEGIN_SECONDS + seconds);
    if (!byPeople || seconds < 86_400) continue;
    reads++;
    if (hit) hits++;
  }
  return hits / reads;
}

if (import.meta.main) {
  const names = Object.keys(POLICIES);
  for (const share of [0.12, 0.25]) {
    const capacity = FILES * share;
    console.log(`\ncache for ${share * 100} % of ${FILES} files; hits of people's reads, %`);
    console.log("trace".padEnd(36) + names.map((name) => name.padStart(8)).join(""));
    for (const trace of Object.keys(TRACES)) {
      const rates = names.map((name) => (hitRate(name, trace, capacity) * 100).toFixed(1));
      console.log(trace.padEnd(36) + rates.map((rate) => rate.padStart(8)).join(""));
    }
  }
}
