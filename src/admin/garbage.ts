/**
 * `p4-cache gc`: the objects of deleted files that are due.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { displayPath } from "../depot_path.ts";
import type { DeletePolicy, GarbageCollector } from "../cache/garbage.ts";

/** One object that is due, or was removed. */
export interface GarbageObject {
  readonly path: string;
  /** Seconds since the epoch. */
  readonly deletedAt: number;
}

/** How a `gc` went. */
export interface GarbageReport {
  readonly policy: DeletePolicy;
  readonly dryRun: boolean;
  /** Objects that are due; of a run that is not dry, those that were removed. */
  objects: number;
  /** Due, but something is still going on with the path: for the next round. */
  waiting: number;
  failed: number;
}

/** Objects told at once. */
const PAGE = 500;

/** Lists what is due, or removes it, and tells each object. */
export async function* collectGarbage(
  garbage: GarbageCollector,
  policy: DeletePolicy,
  dryRun: boolean,
  signal: AbortSignal,
): AsyncGenerator<GarbageObject[], GarbageReport, void> {
  const report: GarbageReport = { policy, dryRun, objects: 0, waiting: 0, failed: 0 };
  const told: GarbageObject[] = [];
  const tell = (path: string, deletedAt: number) => {
    report.objects++;
    told.push({ path: displayPath(path), deletedAt });
  };
  if (dryRun) {
    for await (const { path, deletedAtSeconds } of garbage.due()) {
      if (signal.aborted) break;
      tell(path, deletedAtSeconds);
      if (told.length >= PAGE) yield told.splice(0);
    }
  } else {
    let done = false;
    const round = garbage
      .collect(({ path, deletedAtSeconds }) => tell(path, deletedAtSeconds))
      .finally(() => done = true);
    while (!done) {
      await Promise.race([round, delay(200)]);
      if (told.length > 0) yield told.splice(0, PAGE);
    }
    const { waiting, failed } = await round;
    Object.assign(report, { waiting, failed });
  }
  while (told.length > 0) yield told.splice(0, PAGE);
  return report;
}
