/**
 * The object key that each row of the manifest carries for the C++ implementation.
 *
 * @module
 */

import { pathFromText } from "../depot_path.ts";
import type { BackendConfig } from "../config/config.ts";

/** Object key of a path as the manifest records it: the prefix, where the storage has one, and the path. */
export function storageKeys(primary: BackendConfig): (path: string) => string {
  if (!("prefix" in primary) || primary.prefix === "") return (path) => path;
  const prefix = pathFromText(primary.prefix + "/");
  return (path) => prefix + path;
}
