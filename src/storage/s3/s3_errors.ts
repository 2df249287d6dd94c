/**
 * What S3's refusals mean, said once: status and error document → StorageError.
 *
 * Codes: S3 API reference, "Error responses".
 *
 * @module
 */

import { StorageError, type StorageErrorKind } from "../backend.ts";
import { retryAfterMs } from "../http_exchange.ts";
import { xmlText } from "../xml.ts";

/** What is known about a refused request. */
export interface Refusal {
  /** `store a/b in s3://bucket`. */
  readonly doing: string;
  readonly bucket: string;
  readonly region: string;
  readonly status: number;
  readonly headers: Headers;
  /** The error document; empty when there was none. */
  readonly body: string;
  /** Whether the credentials can be renewed, so that an expired token is no lasting failure. */
  readonly renewable: boolean;
  /** Whether the request stores under a condition. */
  readonly conditional: boolean;
}

const HINTS: Readonly<Record<string, string>> = {
  AccessDenied: "give this key s3:GetObject, s3:PutObject, s3:DeleteObject, " +
    "s3:AbortMultipartUpload and s3:ListBucket on the bucket " +
    "(without ListBucket a missing object looks forbidden)",
  AllAccessDisabled: "the account's access to the bucket is disabled",
  InvalidAccessKeyId: "the server does not know the access key",
  SignatureDoesNotMatch: "the secret key is not the access key's",
  InvalidToken: "the session token is not valid",
  ExpiredToken: "get a new session token, or use a role",
  TokenRefreshRequired: "get a new session token, or use a role",
  InvalidObjectState:
    "the object is archived (Glacier): restore it, or choose another storage class",
  RequestTimeTooSkewed: "set this machine's clock (NTP)",
  NoSuchBucket: "create the bucket, or correct its name or the endpoint",
};

const DENIED = new Set([...Object.keys(HINTS), "AccountProblem", "InvalidSecurity", "NotSignedUp"]);
const CORRUPT = new Set(["BadDigest", "XAmzContentSHA256Mismatch", "InvalidDigest"]);
const THROTTLED = new Set(["SlowDown", "Throttling", "ThrottlingException", "TooManyRequests"]);
const TRANSIENT = new Set([
  "InternalError",
  "RequestTimeout",
  "ServiceUnavailable",
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
  const hint = kind !== "denied"
    ? undefined
    : HINTS[code] ?? (code === "" ? "this is not how S3 answers; check the endpoint" : undefined);
  const message = hint === undefined ? what : `${what}; ${hint}`;
  const waitMs = kind === "throttled" || kind === "transient" ? retryAfterMs(headers) : undefined;
  return new StorageError(kind, message, waitMs === undefined ? {} : { retryAfterMs: waitMs });
}

function kindOf(
  status: number,
  code: string,
  { renewable, conditional }: Refusal,
): StorageErrorKind {
  // An object that is not there has not the tag that is asked for.
  if (conditional && (status === 412 || code === "NoSuchKey")) return "conflict";
  if (code === "NoSuchKey") return "absent";
  if (renewable && isExpiry(code)) return "transient";
  if (CORRUPT.has(code)) return "corrupt";
  if (THROTTLED.has(code) || status === 429) return "throttled";
  if (TRANSIENT.has(code)) return "transient";
  if (DENIED.has(code) || status === 401 || status === 403) return "denied";
  // A 503 without a document is a load balancer's; both ask for patience.
  if (status === 503) return "throttled";
  if (status >= 500 || status === 408 || status === 307) return "transient";
  // Absent is only what says so itself (promise P3); any web server has a 404.
  if (status === 404) return "denied";
  if (status === 412) return "corrupt";
  return status >= 400 ? "permanent" : "transient";
}

/** Whether the code says that the credentials ran out. */
export function isExpiry(code: string): boolean {
  return code === "ExpiredToken" || code === "TokenRefreshRequired";
}
