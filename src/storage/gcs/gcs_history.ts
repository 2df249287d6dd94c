/**
 * The generations of a bucket whose object versioning is on (JSON API, Objects: list, `versions`).
 *
 * @module
 */

import { type DepotPath, displayPath } from "../../cache/depot_path.ts";
import { type ObjectPart, StorageError } from "../backend.ts";
import { type History, type KeyVersion, type ObjectVersion, versionsByPath } from "../history.ts";
import { partOf, rangeHeader } from "../http_range.ts";
import { keyFromText, keyOfPath } from "../object_keys.ts";
import { checkResource, infoOfHeaders, infoOfResource } from "./gcs_objects.ts";
import type { GcsRequests } from "./gcs_requests.ts";

/** See the module. */
export class GcsHistory implements History {
  readonly label: string;
  readonly #requests: GcsRequests;
  readonly #prefix: string;
  readonly #close: () => Promise<void>;

  /** @param prefix One character per byte, without slashes at its ends. */
  constructor(requests: GcsRequests, prefix: string, label: string, close: () => Promise<void>) {
    this.#requests = requests;
    this.#prefix = prefix;
    this.label = label;
    this.#close = close;
  }

  versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    return versionsByPath((start) => this.#list(start, signal), this.#prefix, prefix);
  }

  async read(
    path: DepotPath,
    version: string,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart> {
    const doing = `read ${displayPath(path)} in ${this.label}`;
    const key = keyOfPath(this.#prefix, path);
    const request = {
      method: "GET",
      query: { generation: version },
      permission: "storage.objects.get",
      doing,
      signal,
    } as const;
    const answer = await this.#requests.send({
      ...request,
      path: this.#requests.paths.media(key),
      headers: [rangeHeader(offset, length)],
      expects: [416],
    });
    const head = async () => {
      const path = this.#requests.paths.object(key);
      const resource = await (await this.#requests.send({ ...request, path })).text();
      return infoOfResource(checkResource(JSON.parse(resource)), doing);
    };
    return (await partOf(answer, { offset, length, doing, infoOf: infoOfHeaders, head }))!;
  }

  close(): Promise<void> {
    return this.#close();
  }

  async *#list(prefix: string, signal: AbortSignal): AsyncIterable<KeyVersion> {
    const doing = `list the versions in ${this.label}`;
    const query: Record<string, string> = {
      fields: "kind,nextPageToken,items(name,size,generation,timeCreated,timeDeleted)",
      versions: "true",
      prefix,
    };
    let group: Generation[] = [];
    for (;;) {
      const answer = await this.#requests.send({
        method: "GET",
        path: this.#requests.paths.objects,
        query,
        permission: "storage.objects.list",
        doing,
        signal,
      });
      const page = parsePage(await answer.text(), doing);
      for (const item of page.items ?? []) {
        if (group.length > 0 && group[0]!.name !== item.name) {
          yield* newestFirst(group, doing);
          group = [];
        }
        group.push(item);
      }
      if (!page.nextPageToken) break;
      query.pageToken = keyFromText(page.nextPageToken);
    }
    yield* newestFirst(group, doing);
  }
}

/** An entry as it comes; nothing in it is sure. */
interface Generation {
  readonly name?: string;
  readonly size?: string;
  readonly generation?: string;
  readonly timeCreated?: string;
  /** When it was replaced or deleted. */
  readonly timeDeleted?: string;
}

interface Page {
  readonly items?: readonly Generation[];
  readonly nextPageToken?: string;
}

function parsePage(text: string, doing: string): Page {
  try {
    const page = JSON.parse(text);
    if (page?.kind === "storage#objects" && Array.isArray(page.items ?? [])) return page;
  } catch {
    // A page that was cut, or a proxy's.
  }
  throw new StorageError("transient", `Cannot ${doing}: the answer is no whole listing`);
}

/**
 * The generations of one name. The end of each is told like a deletion, but not where the next one replaced
 * it: that the service may say to have been a moment later than the next one began.
 */
function newestFirst(group: readonly Generation[], doing: string): KeyVersion[] {
  const generations = group.map(({ name, size, generation, timeCreated, timeDeleted }) => {
    const storedMs = Date.parse(timeCreated ?? "");
    if (name === undefined || generation === undefined || Number.isNaN(storedMs)) {
      throw new StorageError("corrupt", `Cannot ${doing}: an entry lacks name, version or time`);
    }
    const version = { key: keyFromText(name), version: generation, size: Number(size), storedMs };
    return { ...version, goneMs: Date.parse(timeDeleted ?? "") };
  }).sort((a, b) => b.storedMs - a.storedMs);
  return generations.flatMap(({ goneMs, ...version }, i) => {
    const nextMs = generations[i - 1]?.storedMs ?? Infinity;
    const stored = { ...version, isDeleted: false };
    return goneMs < nextMs ? [{ ...version, storedMs: goneMs, isDeleted: true }, stored] : [stored];
  });
}
