/**
 * What Google Cloud Storage's refusals mean, said once: status and error document → StorageError.
 *
 * Documents: Cloud Storage, "HTTP status and error codes", of the JSON API (reasons and messages) and
 * of the XML API (codes).
 *
 * @module
 */

import { StorageError, type StorageErrorKind } from "../backend.ts";
import { type HttpAnswer, retryAfterMs } from "../http_exchange.ts";
import { xmlText } from "../xml.ts";

/** What is known about a refused request. */
export interface Refusal {
  /** `store a/b in gs://bucket`. */
  readonly doing: string;
  readonly bucket: string;
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  /** The error document; empty when there was none. */
  readonly body: string;
  /** IAM permission that the request needs. */
  readonly permission: string;
  /** Whether another access token may be accepted. */
  readonly renewable: boolean;
  /** Whether the request stores under a condition. */
  readonly conditional: boolean;
}

/** Something is missing, and the answer does not say what: the object, or the bucket, or the server. */
export class UnclearAbsence extends StorageError {}

/** What an error document says. */
interface Said {
  /** Reason (JSON) or code (XML); empty where there is none. */
  readonly code: string;
  readonly message: string;
}

const THROTTLED = new Set(["rateLimitExceeded", "userRateLimitExceeded", "SlowDown"]);
const CORRUPT = new Set(["BadDigest", "InvalidDigest"]);

/** Refusals that a person has to end, known by what they say. */
const HINTS: readonly (readonly [RegExp, string])[] = [
  [/requester pays|UserProjectMissing/i, "name the project that pays in user_project"],
  [/billing/i, "enable billing for the bucket's project"],
  [
    /retention|active hold/i,
    "the bucket's retention policy or a hold keeps the old object: end it",
  ],
  [/Cloud KMS/i, "let the project's Cloud Storage service agent use the key"],
  [/organization's policy|vpcServiceControls/i, "allow this machine in the service perimeter"],
  [/serviceusage\.services\.use/, "give the account that permission on the project user_project"],
];

/** Turns a refused request into the error the engine understands. */
export function refusalError(refusal: Refusal): StorageError {
  const { status, headers, body } = refusal;
  const said = readDocument(body);
  const text = [`HTTP ${status}`, said.code, said.message].filter((part) => part !== "").join(", ");
  const what = `Cannot ${refusal.doing}: ${text.slice(0, 500)}`;
  if (status === 404) return missing(refusal, said, what);
  const kind = kindOf(status, said, refusal);
  const message = kind === "denied" ? `${what}; ${hintOf(refusal, said)}` : what;
  const waitMs = kind === "throttled" || kind === "transient" ? retryAfterMs(headers) : undefined;
  return new StorageError(kind, message, waitMs === undefined ? {} : { retryAfterMs: waitMs });
}

/** Absent is only what says so itself (promise P3); any web server has a 404. */
function missing({ bucket }: Refusal, { code, message }: Said, what: string): StorageError {
  if (code === "NoSuchKey" || message.startsWith("No such object:")) {
    return new StorageError("absent", what);
  }
  const hint = `create the bucket ${bucket}, or correct its name or the endpoint`;
  if (code === "NoSuchBucket" || /bucket does not exist/.test(message)) {
    return new StorageError("denied", `${what}; ${hint}`);
  }
  return new UnclearAbsence("denied", `${what}; ${hint}`);
}

function kindOf(status: number, said: Said, refusal: Refusal): StorageErrorKind {
  if (status === 412) return refusal.conditional ? "conflict" : "corrupt";
  if (status === 429 || status === 503 || THROTTLED.has(said.code)) return "throttled";
  // A resumable upload's session that ended early is 410; the next attempt begins another.
  if (status >= 500 || status === 408 || status === 410 || status < 400) return "transient";
  if (status === 401) return refusal.renewable ? "transient" : "denied";
  if (CORRUPT.has(said.code) || /doesn't match calculated/.test(said.message)) return "corrupt";
  if (status === 403 || HINTS.some(([pattern]) => matches(pattern, said))) return "denied";
  return "permanent";
}

function matches(pattern: RegExp, { code, message }: Said): boolean {
  return pattern.test(code) || pattern.test(message);
}

function hintOf({ permission, bucket, status, body }: Refusal, said: Said): string {
  const known = HINTS.find(([pattern]) => matches(pattern, said));
  if (known !== undefined) return known[1];
  if (said.code === "" && said.message === "") {
    return "this is not how Cloud Storage answers; check the endpoint";
  }
  // The document names it, where it is another than the operation's own: to replace needs to delete.
  const named = /\bstorage\.\w+\.\w+/.exec(body)?.[0] ?? permission;
  const account = status === 401
    ? "use credentials (credentials_file or application-default ones) whose account has"
    : "give the account";
  const list = named === "storage.objects.list"
    ? ""
    : "; without storage.objects.list a missing object looks forbidden";
  return `${account} ${named} on the bucket ${bucket} (roles/storage.objectUser has all that is ` +
    `needed${list})`;
}

function readDocument(body: string): Said {
  if (body.startsWith("{")) {
    try {
      const { error } = JSON.parse(body);
      return {
        code: String(error?.errors?.[0]?.reason ?? ""),
        message: String(error?.message ?? ""),
      };
    } catch {
      // A document that was cut; its status has to do.
    }
  }
  const code = xmlText(body, "Code");
  if (code !== null) {
    const parts = [xmlText(body, "Message"), xmlText(body, "Details")];
    return { code, message: parts.filter((part) => part !== null).join(" ") };
  }
  // Some requests are refused in plain words.
  return { code: "", message: /^[^<>{}]{1,300}$/.test(body) ? body.trim() : "" };
}
