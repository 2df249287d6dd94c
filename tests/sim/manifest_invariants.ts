/**
 * The invariants of the manifest (`src/manifest/schema.ts`), checked on what each transaction left.
 *
 * @module
 */

import { CLEAN, decodeRow, timeKey } from "../../src/manifest/schema.ts";
import type { Environment } from "./world/sim_kv.ts";

/** Whether the file waits for its upload, as far as the platter knows. */
export function isDirty({ names, databases }: Environment, path: string): boolean {
  const row = databases[names.indexOf("files")]?.get(path);
  return row !== undefined && decodeRow(row).state !== CLEAN;
}

/** Says which invariant the committed manifest breaks; null when it keeps all. */
export function manifestProblem({ names, databases }: Environment): string | null {
  const database = (name: string) => databases[names.indexOf(name)] ?? new Map();
  const files = database("files"), versions = database("versions");
  const dirtyQueue = database("dirty_queue"), evictOrder = database("evict_order");
  let dirty = 0, bytes = 0;
  for (const [path, value] of files) {
    const row = decodeRow(value);
    const isClean = row.state === CLEAN;
    if (!isClean) dirty++;
    bytes += row.size;
    const key = timeKey(isClean ? row.lastAccess : row.createdAt, path);
    if (!(isClean ? evictOrder : dirtyQueue).has(key)) return `M1: ${path} is in no queue`;
    if (!isClean && versions.has(path)) return `M2: ${path} is dirty and has a version`;
    if (database("tombstones").has(path)) return `M4: ${path} has a row and a tombstone`;
  }
  if (dirtyQueue.size !== dirty) return `M1: ${dirtyQueue.size} entries for ${dirty} dirty files`;
  if (evictOrder.size !== files.size - dirty) return "M1: more entries than clean files";
  for (const path of versions.keys()) {
    if (!files.has(path)) return `M2: ${path} has a version, but no row`;
  }
  const counters = database("meta").get("counters");
  if (counters === undefined) return null;
  const saved = JSON.parse(new TextDecoder().decode(counters));
  const agrees = saved.total === files.size && saved.dirty === dirty && saved.bytes === bytes;
  return agrees
    ? null
    : `counters say ${JSON.stringify(saved)}, rows ${files.size}, ${dirty} dirty`;
}
