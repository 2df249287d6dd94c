/**
 * The generations of a bucket whose object versioning is on (JSON API, Objects: list, `versions`).
 *
 * @module
 */

import type { DepotPath } from "../../depot_path.ts";
import { StorageError } from "../backend.ts";
import { BucketHistory, type VersionRequests } from "../bucket_history.ts";
import { type KeyVersion, type ObjectVersion, versionsByPath } from "../history.ts";
import { rangeHeader } from "../http_range.ts";
import { keyFromText, keyOfPath } from "../object_keys.ts";
import { parsePage } from "./gcs_listing.ts";
import { infoOfHeaders, infoOfResource, parseResource } from "./gcs_objects.ts";
import type { GcsRequests } from "./gcs_requests.ts";

/** See the module. */
export class GcsHistory extends BucketHistory<GcsRequests> {
  versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    return versionsByPath((start) => this.#list(start, signal), this.prefix, prefix);
  }

  protected requestsFor(
    path: DepotPath,
    version: string,
    doing: string,
    signal: AbortSignal,
  ): VersionRequests {
    const { paths } = this.requests;
    const key = keyOfPath(this.prefix, path);
    const request = {
      method: "GET",
      query: { generation: version },
      permission: "storage.objects.get",
      doing,
      signal,
    } as const;
    return {
      infoOf: infoOfHeaders,
      range: (offset, length) => {
        const headers = [rangeHeader(offset, length)];
        return this.requests.send({ ...request, path: paths.media(key), headers, expects: [416] });
      },
      head: async () => {
        const answer = await this.requests.send({ ...request, path: paths.object(key) });
        return infoOfResource(parseResource(await answer.text(), doing), doing);
      },
    };
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
      const answer = await this.requests.send({
        method: "GET",
        path: this.requests.paths.objects,
        query,
        permission: "storage.objects.list",
        doing,
        signal,
      });
      const page = parsePage<Generation>(await answer.text(), doing);
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
