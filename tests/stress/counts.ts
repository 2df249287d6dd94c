/**
 * What a daemon did, from the metrics that it wrote at its end.
 *
 * @module
 */

/** Files evicted and restored. */
export interface Counts {
  readonly evictions: number;
  readonly restores: number;
}

/** Reads the daemon's metrics file. */
export function readCounts(metricsFile: string): Counts {
  const text = Deno.readTextFileSync(metricsFile);
  const count = (name: string) =>
    Number(new RegExp(`^p4cache_${name}(?:{.*})? (\\d+)`, "m").exec(text)?.[1] ?? 0);
  return { evictions: count("evictions_total"), restores: count("restores_total") };
}
