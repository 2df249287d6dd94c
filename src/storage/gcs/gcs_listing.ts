/**
 * Pages of a bucket's listing (JSON API, Objects: list).
 *
 * @module
 */

import { StorageError } from "../backend.ts";
import type { ListedKey } from "../key_listing.ts";
import { keyFromText } from "../object_keys.ts";
import type { GcsRequests } from "./gcs_requests.ts";

const PAGE_OBJECTS = "1000";

/** All keys with the prefix from `start` on. @param limit Objects of a page. */
export async function* listKeys(
  requests: GcsRequests,
  prefix: string,
  start: string,
  doing: string,
  signal: AbortSignal,
  limit = PAGE_OBJECTS,
): AsyncIterable<ListedKey> {
  const query: Record<string, string> = {
    fields: "kind,nextPageToken,items(name,size,generation)",
    maxResults: limit,
    prefix,
  };
  if (start !== "") query.startOffset = start;
  for (;;) {
    const answer = await requests.send({
      method: "GET",
      path: requests.paths.objects,
      query,
      permission: "storage.objects.list",
      doing,
      signal,
    });
    const page = parsePage<Record<string, unknown>>(await answer.text(), doing);
    for (const item of page.items ?? []) yield listedKey(item, doing);
    if (!page.nextPageToken) return;
    query.pageToken = keyFromText(page.nextPageToken);
  }
}

/** A page as it comes; nothing in its items is sure. */
interface Page<Item> {
  readonly items?: readonly Item[];
  readonly nextPageToken?: string;
}

/** @throws StorageError transient when it did not come whole */
export function parsePage<Item>(text: string, doing: string): Page<Item> {
  try {
    const page = JSON.parse(text);
    if (page?.kind === "storage#objects" && Array.isArray(page.items ?? [])) return page;
  } catch {
    // A page that was cut, or a proxy's.
  }
  throw new StorageError("transient", `Cannot ${doing}: the answer is no whole listing`);
}

function listedKey({ name, size, generation }: Record<string, unknown>, doing: string): ListedKey {
  if (typeof name !== "string" || !/^\d{1,15}$/.test(String(size))) {
    throw new StorageError("corrupt", `Cannot ${doing}: an entry has no name or no size`);
  }
  return { key: keyFromText(name), size: Number(size), etag: String(generation ?? "") };
}
