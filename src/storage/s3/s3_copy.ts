/**
 * Copies within a bucket, made by the server.
 *
 * One request copies up to 5 GiB (S3 API, CopyObject); above, ranges of the source become the parts
 * of an upload. Both hold the copy to the version that was described before, whose metadata it gets.
 *
 * @module
 */

import { type ObjectInfo, StorageError } from "../backend.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { uriEncode } from "../object_keys.ts";
import { xmlRootIs, xmlText } from "../xml.ts";
import { persist } from "../operation.ts";
import { uploadInParts } from "./s3_multipart.ts";
import type { S3Request, S3Requests } from "./s3_requests.ts";
import { EMPTY_DIGEST } from "./s3_signer.ts";

/** Sizes of what one request copies, bytes. */
export interface CopyLimits {
  /** Largest object that is copied by one request. */
  readonly wholeBytes: number;
  readonly partBytes: number;
}

/** S3's own: 5 GiB at once; parts of 1 GiB keep the largest object, 5 TiB, below 10,000 parts. */
export const COPY_LIMITS: CopyLimits = { wholeBytes: 5 * 1024 ** 3, partBytes: 1024 ** 3 };

const PARTS_IN_FLIGHT = 4;

/** What one copy needs. */
export interface ObjectCopy {
  readonly requests: S3Requests;
  readonly bucket: string;
  /** Keys, one character per byte. */
  readonly from: string;
  readonly to: string;
  /** The source as it was described. */
  readonly source: ObjectInfo;
  /** The copy's metadata and encryption, signed. */
  readonly amzHeaders: readonly (readonly [string, string])[];
  readonly limits: CopyLimits;
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** Copies; returns the copy's ETag. @throws StorageError */
export async function copyObject(copy: ObjectCopy): Promise<string> {
  const { requests, source, limits, doing, signal } = copy;
  const from: [string, string][] = [
    ["x-amz-copy-source", `/${copy.bucket}/${uriEncode(copy.from, true)}`],
    ["x-amz-copy-source-if-match", source.etag],
  ];
  const request = {
    method: "PUT",
    key: copy.to,
    payloadDigest: EMPTY_DIGEST,
    doing,
    expects: [412],
  } as const;
  if (source.size <= limits.wholeBytes) {
    const amzHeaders: [string, string][] = [
      ...from,
      ...copy.amzHeaders as [string, string][],
      ["x-amz-metadata-directive", "REPLACE"],
      // Tags have a directive of their own; without tags of ours those of the source stay.
      ...copy.amzHeaders.some(([name]) => name === "x-amz-tagging")
        ? [["x-amz-tagging-directive", "REPLACE"] as [string, string]]
        : [],
    ];
    const whole: S3Request = { ...request, amzHeaders, signal, serverBytes: source.size };
    return await etagOfCopy(await requests.send(whole), "CopyObjectResult", doing);
  }
  const upload = {
    requests,
    key: copy.to,
    amzHeaders: copy.amzHeaders,
    size: source.size,
    doing,
    signal,
  };
  const count = Math.ceil(source.size / limits.partBytes);
  return await uploadInParts(upload, count, PARTS_IN_FLIGHT, async (uploadId, index, signal) => {
    const first = index * limits.partBytes;
    const last = Math.min(first + limits.partBytes, source.size) - 1;
    const part: S3Request = {
      ...request,
      query: { partNumber: String(index + 1), uploadId },
      amzHeaders: [...from, ["x-amz-copy-source-range", `bytes=${first}-${last}`]],
      signal,
      serverBytes: last + 1 - first,
    };
    return await etagOfCopy(await persist(requests, part), "CopyPartResult", doing);
  });
}

async function etagOfCopy(answer: HttpAnswer, root: string, doing: string): Promise<string> {
  const text = await answer.text();
  if (answer.status === 412) {
    throw new StorageError("transient", `Cannot ${doing}: the source changed meanwhile`);
  }
  const etag = xmlText(text, "ETag");
  // As with the joining of parts, an error can come after the status (S3 API, CopyObject).
  if (xmlRootIs(text, root) && etag) return etag;
  throw new StorageError(
    "transient",
    `Cannot ${doing}: it was not copied: ${xmlText(text, "Code") ?? text.slice(0, 200)}`,
  );
}
