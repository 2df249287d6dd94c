/**
 * Listing a bucket in the order of depot paths.
 *
 * Providers list in the byte order of keys, which is that of the paths, but for those that are escaped
 * (`object_keys.ts`). These are rare: they are listed first, kept, and merged in.
 *
 * @module
 */

import { STATE_DIR } from "../depot_path.ts";
import type { ListedObject } from "./backend.ts";
import { ESCAPED_DIR, escapePath, isPlainKey, pathOfKey } from "./object_keys.ts";

/** One entry of a provider's listing. */
export interface ListedKey {
  /** One character per byte. */
  readonly key: string;
  readonly size: number;
  readonly etag: string;
}

/** All keys with the prefix, in byte order. @param start May leave out those before or up to it. */
export type ListKeys = (prefix: string, start: string) => AsyncIterable<ListedKey>;

/**
 * Lists the objects whose path starts with `prefix` and comes after `after`.
 * @param keyPrefix The backend's prefix, one character per byte, without slashes at its ends.
 */
export async function* listByPath(
  keys: ListKeys,
  keyPrefix: string,
  prefix: string,
  after: string,
): AsyncIterable<ListedObject> {
  const under = keyPrefix === "" ? "" : keyPrefix + "/";
  const wanted = ({ path }: ListedObject) => path.startsWith(prefix) && path > after;
  const escaped: ListedObject[] = [];
  for await (const entry of keys(under + ESCAPED_DIR + escapePath(prefix), "")) {
    const path = pathOfKey(keyPrefix, entry.key);
    if (path === null) continue;
    const object = { path, size: entry.size, etag: entry.etag };
    if (wanted(object)) escaped.push(object);
  }
  escaped.sort((a, b) => a.path < b.path ? -1 : 1);
  let next = 0;
  const start = after > prefix ? under + plainStart(after) : "";
  for await (const entry of keys(under + plainStart(prefix), start)) {
    const path = pathOfKey(keyPrefix, entry.key);
    if (path === null || entry.key.startsWith(under + STATE_DIR + "/")) continue;
    const object = { path, size: entry.size, etag: entry.etag };
    if (!wanted(object)) continue;
    while (next < escaped.length && escaped[next]!.path < path) yield escaped[next++]!;
    yield object;
  }
  yield* escaped.slice(next);
}

/** The longest start of the path that can be asked for as it is. */
export function plainStart(path: string): string {
  for (let length = path.length; length > 0; length--) {
    const start = path.slice(0, length);
    if (isPlainKey(start)) return start;
  }
  return "";
}
