/**
 * The versions of a container whose account has blob versioning on ("List Blobs", `include=versions`).
 *
 * Azure does not tell when a blob was deleted, only that no version is the current one: a deleted blob
 * counts as there at every moment from its last version to now, and as gone now.
 *
 * @module
 */

import type { DepotPath } from "../../depot_path.ts";
import { StorageError } from "../backend.ts";
import { BucketHistory, type VersionRequests } from "../bucket_history.ts";
import type { ObjectVersion } from "../history.ts";
import { sizeOf } from "../http_range.ts";
import { ESCAPED_DIR, keyFromText } from "../object_keys.ts";
import { isProbeObject } from "../probe.ts";
import { xmlElements, xmlText } from "../xml.ts";
import { infoOf, msRange } from "./azure_answers.ts";
import { listingPage } from "./azure_listing.ts";
import { escapeStart, isPlainName, isPlainStart, nameOfPath, pathOfName } from "./azure_names.ts";
import type { AzureRequests } from "./azure_requests.ts";

/** See the module. */
export class AzureHistory extends BucketHistory<AzureRequests> {
  async *versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    const under = this.prefix === "" ? "" : this.prefix + "/";
    let plain = prefix;
    while (!isPlainStart(plain)) plain = plain.slice(0, -1);
    for (
      const [isPlain, start] of [[false, ESCAPED_DIR + escapeStart(prefix)], [true, plain]] as const
    ) {
      for await (const version of this.#list(under + start, signal)) {
        const { path } = version;
        // Escaped ones come with the first listing only.
        if (isPlainName(path) !== isPlain || !path.startsWith(prefix)) continue;
        if (!isProbeObject(path)) yield version;
      }
    }
  }

  protected requestsFor(
    path: DepotPath,
    version: string,
    doing: string,
    signal: AbortSignal,
  ): VersionRequests {
    const request = {
      blob: nameOfPath(this.prefix, path),
      query: { versionid: keyFromText(version) },
      doing,
      signal,
    };
    return {
      infoOf,
      range: (offset, length) => {
        const headers = [msRange(offset, length)];
        return this.requests.send({ ...request, method: "GET", headers, expects: [416] });
      },
      head: async () => {
        const answer = await this.requests.send({ ...request, method: "HEAD" });
        await answer.cancel();
        return infoOf(answer, sizeOf(answer, doing), doing);
      },
    };
  }

  async *#list(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    const doing = `list the versions in ${this.label}`;
    let group: ObjectVersion[] = [], isThere = false;
    const told = () => {
      const [first] = group;
      // Its deletion is some time before now.
      const gone = first === undefined || isThere
        ? []
        : [{ ...first, storedMs: Date.now(), isDeleted: true }];
      return [...gone, ...group];
    };
    for (let marker = "";;) {
      const query = { include: "versions", prefix };
      const page = await listingPage(this.requests, query, marker, doing, signal);
      for (const xml of xmlElements(page, "Blob")) {
        const version = this.#version(xml, doing);
        if (version === null) continue;
        if (group.length > 0 && group[0]!.path !== version.path) {
          yield* told();
          group = [];
          isThere = false;
        }
        group.push(version);
        isThere ||= xmlText(xml, "IsCurrentVersion") === "true";
      }
      marker = keyFromText(xmlText(page, "NextMarker") ?? "");
      if (marker === "") break;
    }
    yield* told();
  }

  /** Null when it is none of ours. */
  #version(xml: string, doing: string): ObjectVersion | null {
    const name = xmlText(xml, "Name"), size = xmlText(xml, "Content-Length");
    const version = xmlText(xml, "VersionId") ?? "";
    const storedMs = Date.parse(version);
    if (name === null || size === null || Number.isNaN(storedMs)) {
      throw new StorageError(
        "permanent",
        `Cannot ${doing}: an entry has no version; turn on blob versioning of the account`,
      );
    }
    const path = pathOfName(this.prefix, keyFromText(name));
    return path === null ? null : { path, version, size: Number(size), storedMs, isDeleted: false };
  }
}
