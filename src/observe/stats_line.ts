/**
 * The daemon in one line: the stats line of the log, exactly as the contract gives it, and a shorter
 * one for the service manager.
 *
 * @module
 */

import { counted } from "../counted.ts";
import type { Condition } from "./health.ts";
import type { GaugeSnapshot, Totals } from "./metrics.ts";

const GIB = 1024 ** 3;

/** `[stats] cache=245.3/500.0 GB | files: … | shim: 44901 fetch, 230 miss`. */
export function statsLine(totals: Readonly<Totals>, now: GaugeSnapshot): string {
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  return `[stats] cache=${gib(now.cacheBytes)}/${gib(now.cacheMaxBytes)} GB` +
    ` | files: ${now.total} total, ${now.dirty} dirty, ${now.uploading} uploading, ${now.clean} clean` +
    ` | uploads: ${totals.uploadsOk} ok, ${totals.uploadsFailed} fail` +
    ` | restores: ${totals.restoresOk} ok, ${totals.restoresFailed} fail (${totals.restoresSecondary} secondary)` +
    ` | evictions: ${totals.evictions}` +
    ` | shim: ${totals.shimFetched} fetch, ${totals.shimNotFound} miss`;
}

/** `Serving 1523400 files, 12 dirty, cache 245.3/500.0 GB; degraded: backend_down`. */
export function stateLine(now: GaugeSnapshot, conditions: readonly Condition[]): string {
  const gib = (bytes: number) => (bytes / GIB).toFixed(1);
  const wrong = conditions.map((condition) => condition.name).join(", ");
  return `Serving ${counted(now.total, "file")}, ${now.uploadPending} dirty, ` +
    `cache ${gib(now.cacheBytes)}/${gib(now.cacheMaxBytes)} GB${wrong && `; degraded: ${wrong}`}`;
}
