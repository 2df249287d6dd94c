/**
 * Copies within a bucket, made by the server (JSON API, Objects: rewrite). Large ones, and ones to
 * another storage class, take several requests, each of which goes on where the last one ended.
 *
 * @module
 */

import { type ObjectInfo, StorageError } from "../backend.ts";
import { keyFromText } from "../object_keys.ts";
import { checkResource, type ObjectResource } from "./gcs_objects.ts";
import { type GcsRequests, jsonBody } from "./gcs_requests.ts";

/** Rewrites that bring nothing forward, in a row, before the copy is given up. */
const MAX_STANDSTILLS = 20;

/** What one copy needs. */
export interface ObjectCopy {
  readonly requests: GcsRequests;
  /** The source's bucket; null: the same. */
  readonly bucket: string | null;
  /** Keys, one character per byte. */
  readonly from: string;
  readonly to: string;
  /** The source as it was described; only this version is copied. */
  readonly source: ObjectInfo;
  /** The copy's own. */
  readonly resource: Readonly<Record<string, unknown>>;
  readonly query: Readonly<Record<string, string>>;
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** Copies; returns the copy's generation. @throws StorageError */
export async function copyObject(copy: ObjectCopy): Promise<string> {
  const { requests, source, doing } = copy;
  const query: Record<string, string> = {
    ...copy.query,
    ifSourceGenerationMatch: source.etag,
    fields: "done,rewriteToken,totalBytesRewritten,resource(generation,size)",
  };
  let standstills = 0, rewritten = 0;
  while (standstills <= MAX_STANDSTILLS) {
    const answer = await requests.send({
      method: "POST",
      path: requests.paths.rewrite(copy.from, copy.to, copy.bucket),
      query,
      headers: [["content-type", "application/json"]],
      body: jsonBody(copy.resource),
      permission: "storage.objects.create",
      doing,
      signal: copy.signal,
      serverBytes: source.size,
      expects: [412],
    });
    const text = await answer.text();
    if (answer.status === 412) {
      throw new StorageError("transient", `Cannot ${doing}: the source changed meanwhile`);
    }
    const step = parseStep(text, doing);
    if (step.resource !== null) {
      if (Number(step.resource.size) === source.size) return step.resource.generation;
      throw new StorageError("corrupt", `Cannot ${doing}: the copy has another size`);
    }
    standstills = step.rewritten > rewritten ? 0 : standstills + 1;
    rewritten = step.rewritten;
    query.rewriteToken = keyFromText(step.token);
  }
  throw new StorageError("transient", `Cannot ${doing}: it stands still at ${rewritten} bytes`);
}

/** One answer: the copy, or where to go on. */
interface Step {
  readonly resource: ObjectResource | null;
  readonly token: string;
  readonly rewritten: number;
}

function parseStep(text: string, doing: string): Step {
  try {
    const { done, rewriteToken, totalBytesRewritten, resource } = JSON.parse(text);
    if (done === true) return { resource: checkResource(resource), token: "", rewritten: 0 };
    if (typeof rewriteToken === "string" && rewriteToken !== "") {
      return { resource: null, token: rewriteToken, rewritten: Number(totalBytesRewritten) || 0 };
    }
  } catch {
    // An answer that was cut, or a proxy's.
  }
  throw new StorageError(
    "transient",
    `Cannot ${doing}: the answer says neither done nor how to go on`,
  );
}
