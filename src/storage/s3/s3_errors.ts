/**
 * What S3's refusals mean, said once: status and error document → StorageError.
 *
 * Codes: S3 API reference, "Error responses".
 *
 * @module
 */

import { StorageError, type StorageErrorKind } from "../backend.ts";
import { type HttpAnswer, retryAfterMs } from "../http_exchange.ts";
import { xmlText } from "../xml.ts";

/** What is known about a refused request. */
export interface Refusal {
  /** `store a/b in s3://bucket`. */
  readonly doing: string;
  readonly bucket: string;
  readonly region: string;
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  /** The error document; empty when there was none. */
  readonly body: string;
  /** Whether the request stores under a condition. */
  readonly conditional: boolean;
  /** What the key must be allowed to do, as policies name it: `s3:PutObject`. */
  readonly permissions: readonly string[];
  /** When the answer came, ms since the epoch. */
  readonly nowMs: number;
}

/** Of a request what tells which permissions it needs. */
export interface RequestShape {
  readonly method: string;
  readonly key: string | null;
  readonly query?: Readonly<Record<string, string>>;
  readonly amzHeaders?: readonly (readonly [string, string])[];
}

/** What a request needs ("Actions, resources, and condition keys for Amazon S3"). */
export function neededPermissions({ method, key, query, amzHeaders }: RequestShape): string[] {
  if (key === null) {
    return [query?.["uploads"] === "" ? "s3:ListBucketMultipartUploads" : "s3:ListBucket"];
  }
  if (method === "DELETE") {
    return [query?.["uploadId"] ? "s3:AbortMultipartUpload" : "s3:DeleteObject"];
  }
  // Without ListBucket a missing object looks forbidden.
  if (method === "GET" || method === "HEAD") return ["s3:GetObject", "s3:ListBucket"];
  const needed = ["s3:PutObject"];
  const has = (name: string, value?: string) =>
    amzHeaders?.some(([n, v]) => n === name && (value === undefined || v === value)) ?? false;
  if (has("x-amz-copy-source")) needed.push("s3:GetObject");
  if (has("x-amz-tagging")) needed.push("s3:PutObjectTagging");
  if (has("x-amz-server-side-encryption", "aws:kms")) {
    needed.push("kms:GenerateDataKey", "kms:Decrypt");
  }
  return needed;
}

const HINTS: Readonly<Record<string, string>> = {
  AllAccessDisabled: "the account's access to the bucket is disabled",
  InvalidAccessKeyId: "the server does not know the access key; set one that is valid there",
  SignatureDoesNotMatch: "the secret key is not the access key's; set the two that belong together",
  InvalidToken: "the session token is not the access key's; set the three that belong together",
  ExpiredToken: "get a new session token, or use a role",
  TokenRefreshRequired: "get a new session token, or use a role",
  InvalidObjectState:
    "the object is archived (Glacier): restore it, or choose another storage class",
  NoSuchBucket: "create the bucket, or correct its name or the endpoint",
};

const ABOUT_CREDENTIALS = new Set([
  "ExpiredToken",
  "TokenRefreshRequired",
  "InvalidAccessKeyId",
  "InvalidToken",
  "SignatureDoesNotMatch",
]);

const DENIED = new Set([
  ...Object.keys(HINTS),
  "AccessDenied",
  "AccountProblem",
  "InvalidSecurity",
  "NotSignedUp",
  "RequestTimeTooSkewed",
]);
const CORRUPT = new Set([
  "BadDigest",
  "XAmzContentSHA256Mismatch",
  "XAmzContentChecksumMismatch",
  "InvalidDigest",
]);
const THROTTLED = new Set(["SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"]);
const TRANSIENT = new Set([
  "InternalError",
  "RequestTimeout",
  "OperationAborted",
  // Another request was under way; the next attempt finds out whether the condition holds.
  "ConditionalRequestConflict",
  "TemporaryRedirect",
  "IncompleteBody",
  "NoSuchUpload",
]);
const OTHER_REGION = new Set([
  "PermanentRedirect",
  "AuthorizationHeaderMalformed",
  "IllegalLocationConstraintException",
]);

/** Turns a refused request into the error the engine understands. */
export function refusalError(refusal: Refusal): StorageError {
  const { status, headers, body } = refusal;
  const code = xmlText(body, "Code") ?? "";
  const said = [`HTTP ${status}`, code, xmlText(body, "Message") ?? ""]
    .filter((part) => part !== "").join(", ").slice(0, 500);
  const what = `Cannot ${refusal.doing}: ${said}`;
  const region = headers.get("x-amz-bucket-region") ?? xmlText(body, "Region");
  const elsewhere = OTHER_REGION.has(code) || status === 301;
  if (elsewhere && region !== null && region !== refusal.region) {
    return new StorageError(
      "denied",
      `${what}; the bucket ${refusal.bucket} is in region ${region}, not ${refusal.region}: set the ` +
        `region to ${region}`,
    );
  }
  if (elsewhere) {
    return new StorageError("denied", `${what}; set the bucket's own region and endpoint`);
  }
  const kind = kindOf(status, code, refusal);
  const hint = kind === "denied" ? hintOf(code, refusal) : undefined;
  const message = hint === undefined ? what : `${what}; ${hint}`;
  const waitMs = kind === "throttled" || kind === "transient" ? retryAfterMs(headers) : undefined;
  return new StorageError(kind, message, waitMs === undefined ? {} : { retryAfterMs: waitMs });
}

function hintOf(
  code: string,
  { bucket, headers, permissions, nowMs }: Refusal,
): string | undefined {
  switch (code) {
    case "":
      return "this is not how S3 answers; check the endpoint";
    case "AccessDenied":
      return `give this key ${
        permissions.join(" and ")
      } on ${bucket}, in its policy and the bucket's`;
    case "RequestTimeTooSkewed": {
      const skewS = Math.round((nowMs - Date.parse(headers.get("date") ?? "")) / 1000);
      const by = Number.isNaN(skewS)
        ? ""
        : `, which is ${Math.abs(skewS)} seconds ${skewS < 0 ? "behind" : "ahead of"} the server's`;
      return `set this machine's clock${by} (NTP)`;
    }
    default:
      return HINTS[code];
  }
}

function kindOf(
  status: number,
  code: string,
  { conditional }: Refusal,
): StorageErrorKind {
  // An object that is not there has not the tag that is asked for.
  if (conditional && (status === 412 || code === "NoSuchKey")) return "conflict";
  if (code === "NoSuchKey") return "absent";
  // Not implemented, with a document or without: asking again does not help.
  if (status === 501) return "permanent";
  if (CORRUPT.has(code)) return "corrupt";
  if (THROTTLED.has(code) || status === 429) return "throttled";
  if (TRANSIENT.has(code)) return "transient";
  if (DENIED.has(code) || status === 401 || status === 403) return "denied";
  // Whoever says it, and whether with a document or without: it asks for patience.
  if (status === 503) return "throttled";
  if (status >= 500 || status === 408 || status === 307) return "transient";
  // Absent is only what says so itself (promise P3); any web server has a 404.
  if (status === 404) return "denied";
  if (status === 412) return "corrupt";
  return status >= 400 ? "permanent" : "transient";
}

/** Whether the code says that other credentials may succeed. */
export function isAboutCredentials(code: string): boolean {
  return ABOUT_CREDENTIALS.has(code);
}
