/**
 * The versions of a bucket whose versioning is on (S3 API, ListObjectVersions).
 *
 * @module
 */

import type { DepotPath } from "../../depot_path.ts";
import { StorageError } from "../backend.ts";
import { BucketHistory, type VersionRequests } from "../bucket_history.ts";
import { type KeyVersion, type ObjectVersion, versionsByPath } from "../history.ts";
import { rangeHeader, sizeOf } from "../http_range.ts";
import { keyFromText, keyOfPath } from "../object_keys.ts";
import { xmlElements, xmlText } from "../xml.ts";
import { infoOf } from "./s3_answers.ts";
import { decodedKey, listingPage } from "./s3_listing.ts";
import type { S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";

/** See the module. */
export class S3History extends BucketHistory<S3Requests> {
  versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    return versionsByPath((start) => this.#list(start, signal), this.prefix, prefix);
  }

  protected requestsFor(
    path: DepotPath,
    version: string,
    doing: string,
    signal: AbortSignal,
  ): VersionRequests {
    const request = {
      key: keyOfPath(this.prefix, path),
      query: { versionId: keyFromText(version) },
      payloadDigest: EMPTY_DIGEST,
      doing,
      signal,
    };
    return {
      infoOf,
      range: (offset, length) => {
        const headers = [rangeHeader(offset, length)];
        return this.requests.send({ ...request, method: "GET", headers, expects: [416] });
      },
      head: async () => {
        const answer = await this.requests.send({ ...request, method: "HEAD" });
        await answer.cancel();
        return infoOf(answer, sizeOf(answer, doing), doing);
      },
    };
  }

  /** A page's versions and deletions come apart on some servers: sorted before they are told. */
  async *#list(prefix: string, signal: AbortSignal): AsyncIterable<KeyVersion> {
    const doing = `list the versions in ${this.label}`;
    let query: Record<string, string> = { versions: "", "encoding-type": "url", prefix };
    let kept: Found[] = [];
    for (;;) {
      const page = await listingPage(this.requests, "ListVersionsResult", query, doing, signal);
      const isUrl = xmlText(page, "EncodingType") === "url";
      const found = [
        ...kept,
        ...Array.from(xmlElements(page, "Version"), (xml) => versionOf(xml, isUrl, false, doing)),
        ...Array.from(
          xmlElements(page, "DeleteMarker"),
          (xml) => versionOf(xml, isUrl, true, doing),
        ),
      ].sort(byKeyAndAge);
      const isLast = xmlText(page, "IsTruncated") !== "true";
      // The last key's versions may go on with the next page.
      const last = found.at(-1)?.key;
      kept = isLast ? [] : found.filter(({ key }) => key === last);
      for (const { isLatest: _, ...version } of found) {
        if (isLast || version.key !== last) yield version;
      }
      if (isLast) return;
      const marker = xmlText(page, "NextKeyMarker");
      if (!marker) throw new StorageError("corrupt", `Cannot ${doing}: a page names no next one`);
      query = {
        ...query,
        "key-marker": decodedKey(marker, isUrl),
        "version-id-marker": keyFromText(xmlText(page, "NextVersionIdMarker") ?? ""),
      };
    }
  }
}

interface Found extends KeyVersion {
  readonly isLatest: boolean;
}

function versionOf(xml: string, isUrl: boolean, isDeleted: boolean, doing: string): Found {
  const name = xmlText(xml, "Key");
  const version = xmlText(xml, "VersionId");
  const storedMs = Date.parse(xmlText(xml, "LastModified") ?? "");
  const size = isDeleted ? "0" : xmlText(xml, "Size") ?? "";
  if (name === null || version === null || Number.isNaN(storedMs) || !/^\d{1,15}$/.test(size)) {
    throw new StorageError("corrupt", `Cannot ${doing}: an entry lacks key, version, time or size`);
  }
  return {
    key: decodedKey(name, isUrl),
    version,
    size: Number(size),
    storedMs,
    isDeleted,
    isLatest: xmlText(xml, "IsLatest") === "true",
  };
}

function byKeyAndAge(a: Found, b: Found): number {
  if (a.key !== b.key) return a.key < b.key ? -1 : 1;
  if (a.isLatest !== b.isLatest) return a.isLatest ? -1 : 1;
  return b.storedMs - a.storedMs;
}
