/**
 * What a daemon did, from the metrics that it wrote at its end.
 *
 * @module
 */

/** Files evicted and restored, and attempts that failed on the way to the storage. */
export interface Counts {
  readonly evictions: number;
  readonly restores: number;
  readonly failures: number;
}

/** Reads the daemon's metrics file. */
export function readCounts(metricsFile: string): Counts {
  const text = Deno.readTextFileSync(metricsFile);
  const all = (metric: string) =>
    [...text.matchAll(new RegExp(`^p4cache_${metric} (\\d+)`, "gm"))].map(([, n]) => Number(n));
  const first = (name: string) => all(`${name}(?:{.*})?`)[0] ?? 0;
  return {
    evictions: first("evictions_total"),
    restores: first("restores_total"),
    failures: all('backend_errors_total{.*kind="transient".*}').reduce((sum, n) => sum + n, 0),
  };
}
