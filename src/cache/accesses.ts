/**
 * Accesses of files that are in the cache: what puts off their eviction.
 *
 * @module
 */

import type { Manifest } from "../manifest/manifest.ts";
import { SAME_ACCESS_SECONDS } from "../manifest/rank.ts";
import { accessed } from "../manifest/transitions.ts";
import type { DepotPath } from "../depot_path.ts";

/** Records that the files were opened now; of those opened again and again only one in a while. */
export function recordAccesses(
  manifest: Manifest,
  paths: readonly string[],
  nowSeconds: number,
): void {
  for (const path of paths) {
    const record = manifest.get(path);
    if (record === null || nowSeconds - record.row.lastAccess < SAME_ACCESS_SECONDS) continue;
    manifest.set(path as DepotPath, accessed(record, nowSeconds));
  }
}
