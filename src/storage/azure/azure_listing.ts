/**
 * Listing a container in the order of depot paths.
 *
 * Azure lists in the alphabetical order of names. That is the byte order of the paths, but for names
 * that are escaped (`azure_names.ts`) and, depending on how characters beyond U+FFFF are ordered, for
 * those that have such. Both are rare: they are kept, and merged in.
 *
 * @module
 */

import { type ListedObject, StorageError } from "../backend.ts";
import { ESCAPED_DIR, keyFromText } from "../object_keys.ts";
import { xmlElements, xmlRootIs, xmlText } from "../xml.ts";
import { escapeStart, isPlainName, isPlainStart, pathOfName } from "./azure_names.ts";
import type { AzureRequests } from "./azure_requests.ts";

/** First byte in UTF-8 of a character beyond U+FFFF. */
const BEYOND_BMP = /[\xf0-\xf4]/;

/** A place to go on from: Azure goes on only where a page began, at no name. */
interface Bookmark {
  readonly prefix: string;
  /** First path on the page. */
  readonly path: string;
  /** Leads to the page. */
  readonly marker: string;
}

/** Lists one container; remembers where the last listing was, for one that goes on with it. */
export class AzureListing {
  readonly #requests: AzureRequests;
  readonly #prefix: string;
  readonly #doing: string;
  #bookmark: Bookmark | null = null;

  /** @param prefix The backend's, one character per byte, without slashes at its ends. */
  constructor(requests: AzureRequests, prefix: string, doing: string) {
    this.#requests = requests;
    this.#prefix = prefix;
    this.#doing = doing;
  }

  /** Lists the objects whose path starts with `prefix` and comes after `after`. */
  async *list(prefix: string, after: string, signal: AbortSignal): AsyncIterable<ListedObject> {
    const under = this.#prefix === "" ? "" : this.#prefix + "/";
    const wanted = ({ path }: ListedObject) => path.startsWith(prefix) && path > after;
    const kept: ListedObject[] = [];
    for await (const page of this.#pages(under + ESCAPED_DIR + escapeStart(prefix), "", signal)) {
      kept.push(...page.objects.filter(wanted));
    }
    let isSorted = false;
    let last = "";
    const start = this.#start(prefix, after);
    for await (const page of this.#pages(under + plainStart(prefix), start, signal)) {
      const first = page.objects.find(({ path }) => isPlainName(path));
      // Not while kept ones are still to come: who goes on from here would miss them.
      const whole = kept.every(({ path }) => !BEYOND_BMP.test(path));
      if (first !== undefined && whole) {
        this.#bookmark = { prefix, path: first.path, marker: page.marker };
      }
      for (const object of page.objects) {
        // Escaped ones were listed before.
        if (!isPlainName(object.path)) continue;
        if (BEYOND_BMP.test(object.path)) {
          if (!wanted(object)) continue;
          kept.push(object);
          isSorted = false;
          continue;
        }
        if (object.path <= last) throw this.#disorder(last, object.path);
        last = object.path;
        if (!wanted(object)) continue;
        if (!isSorted) kept.sort(lastFirst);
        isSorted = true;
        while (kept.length > 0 && kept.at(-1)!.path < object.path) yield kept.pop()!;
        yield object;
      }
    }
    yield* kept.sort(lastFirst).reverse();
  }

  /** The marker of a page before what comes after `after`. */
  #start(prefix: string, after: string): string {
    const bookmark = this.#bookmark;
    const isBefore = bookmark !== null && bookmark.prefix === prefix && bookmark.path <= after;
    return isBefore ? bookmark.marker : "";
  }

  /** All pages with the prefix ("List Blobs"). */
  async *#pages(
    prefix: string,
    marker: string,
    signal: AbortSignal,
  ): AsyncIterable<{ marker: string; objects: ListedObject[] }> {
    for (;;) {
      const page = await listingPage(this.#requests, { prefix }, marker, this.#doing, signal);
      const objects: ListedObject[] = [];
      for (const element of xmlElements(page, "Blob")) {
        const object = this.#object(element);
        if (object !== null) objects.push(object);
      }
      yield { marker, objects };
      marker = keyFromText(xmlText(page, "NextMarker") ?? "");
      if (marker === "") return;
    }
  }

  /** Null when it is none of ours, or a directory (in accounts with hierarchical namespace). */
  #object(element: string): ListedObject | null {
    const text = xmlText(element, "Name");
    const size = xmlText(element, "Content-Length");
    const etag = xmlText(element, "Etag");
    if (text === null || size === null || !/^\d{1,15}$/.test(size) || !etag) {
      throw new StorageError(
        "corrupt",
        `Cannot ${this.#doing}: an entry has no name, no size or no tag`,
      );
    }
    if (xmlText(element, "ResourceType") === "directory") return null;
    const name = keyFromText(
      /<Name\s[^>]*Encoded="true"/.test(element) ? decodeURIComponent(text) : text,
    );
    const path = pathOfName(this.#prefix, name);
    // Headers have the tag in quotes, listings have not.
    const quoted = etag.startsWith('"') ? etag : `"${etag}"`;
    return path === null ? null : { path, size: Number(size), etag: quoted };
  }

  #disorder(before: string, path: string): StorageError {
    return new StorageError(
      "permanent",
      `Cannot ${this.#doing}: ${path} is listed after ${before}, so not in byte order; use an ` +
        "account without hierarchical namespace",
    );
  }
}

/**
 * One page of a container's listing ("List Blobs").
 * @param marker Leads to it; "" to the first.
 * @throws StorageError transient when it did not come whole
 */
export async function listingPage(
  requests: AzureRequests,
  query: Readonly<Record<string, string>>,
  marker: string,
  doing: string,
  signal: AbortSignal,
): Promise<string> {
  const answer = await requests.send({
    method: "GET",
    blob: null,
    query: { restype: "container", comp: "list", ...query, ...(marker === "" ? {} : { marker }) },
    doing,
    signal,
  });
  const page = await answer.text();
  if (xmlRootIs(page, "EnumerationResults") && page.includes("</EnumerationResults>")) return page;
  throw new StorageError("transient", `Cannot ${doing}: the answer is no whole listing`);
}

function lastFirst(a: ListedObject, b: ListedObject): number {
  return a.path < b.path ? 1 : -1;
}

/** The longest start of the path that can be asked for as it is. */
function plainStart(path: string): string {
  for (let length = path.length; length > 0; length--) {
    const start = path.slice(0, length);
    if (isPlainStart(start)) return start;
  }
  return "";
}
