/**
 * How many rows each database of a daemon's manifest has, read beside the daemon.
 *
 * @module
 */

import { Kv } from "../../ffi/kv.ts";
import { DATABASES } from "../../src/manifest/schema.ts";

/** Databases without rows are left out. */
export function manifestRows(depot: string): Record<string, number> {
  const kv = new Kv(`${depot}/.p4cache/manifest`, 0, { readOnly: true });
  try {
    const counted = DATABASES.map((name) => [name, kv.info(kv.database(name)).entries] as const);
    return Object.fromEntries(counted.filter(([, rows]) => rows > 0));
  } finally {
    kv.close();
  }
}
