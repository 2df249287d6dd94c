/**
 * Counts the manifest's rows anew and brings it into our order after another program (the C++
 * implementation) wrote to it: its "uploading" rows were cut off by a stop or crash and become dirty.
 *
 * @module
 */

import { countRow } from "./counters.ts";
import type { Manifest } from "./manifest.ts";
import { CLEAN, decodeRow, DIRTY } from "./schema.ts";

/** Runs before anything else uses the manifest. Returns how many uploads were cut off. */
export async function recount(manifest: Manifest): Promise<number> {
  const { counters } = manifest;
  counters.total =
    counters.dirty =
    counters.bytes =
    counters.dirtyBytes =
      0;
  const cutOff = [];
  for await (const { path, value } of manifest.rows()) {
    const row = decodeRow(value);
    countRow(counters, row, 1);
    if (row.state !== CLEAN) {
      // Written again even when dirty already: its queue entry may be missing (invariant M1).
      cutOff.push({ path, row });
    }
  }
  for (const { path, row } of cutOff) {
    manifest.set(path, { row: { ...row, state: DIRTY }, version: null });
    if (manifest.pending > 10_000) await manifest.commit();
  }
  await manifest.commit();
  return cutOff.length;
}
