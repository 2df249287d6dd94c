/**
 * What Azure's refusals mean, said once: status, code and credentials → StorageError.
 *
 * Codes: Azure Storage REST reference, "Common REST API error codes" and "Blob service error codes".
 *
 * @module
 */

import { StorageError, type StorageErrorKind } from "../backend.ts";
import { type HttpAnswer, retryAfterMs } from "../http_exchange.ts";
import { xmlText } from "../xml.ts";
import type { Credentials } from "./azure_credentials.ts";

/** Azure refuses signed requests that are older or newer than this ("Authorize with Shared Key"). */
const MAX_SKEW_SECONDS = 15 * 60;

/** What a request needs to be allowed to do: the letter of a shared access signature. */
export type Permission = "r" | "w" | "d" | "l";

/** What is known about a refused request. */
export interface Refusal {
  /** `store a/b in azure://account/container`. */
  readonly doing: string;
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  /** The error document; empty when there was none. */
  readonly body: string;
  readonly credentials: Credentials;
  readonly permission: Permission;
  /** Whether the request was to be done only under a condition. */
  readonly conditional: boolean;
  /** Whether there may be better credentials by now. */
  readonly renewed: boolean;
  readonly nowMs: number;
}

const HINTS: Readonly<Record<string, string>> = {
  AccountIsDisabled: "the storage account is disabled: see to it in the Azure portal",
  AuthorizationFailure:
    "the account's network rules do not let this machine in, or the signature " +
    "has not the rights: allow its address or virtual network, or use a private endpoint",
  AuthorizationProtocolMismatch: "the shared access signature is for https only (spr): use https",
  AuthorizationResourceTypeMismatch:
    "the shared access signature needs the resource types container and object (srt=co)",
  AuthorizationServiceMismatch: "the shared access signature is not for blobs: it needs ss=b",
  AuthorizationSourceIPMismatch: "the shared access signature is for other addresses (sip)",
  BlobArchived: "the blob is in the archive tier: rehydrate it to hot, cool or cold",
  BlobBeingRehydrated: "the blob is on its way out of the archive tier; that can take hours",
  BlobImmutableDueToLegalHold: "a legal hold keeps the blob from being changed",
  BlobImmutableDueToPolicy: "an immutability policy keeps the blob from being changed",
  ContainerBeingDeleted: "the container was deleted: wait, and create it again",
  ContainerDisabled: "the container is disabled by its administrator",
  ContainerNotFound: "create the container, or correct its name, the account or the endpoint",
  InsufficientAccountPermissions: "the credentials have not the rights for the account",
  InvalidAccountKey: "the key is not the account's: correct account_key",
  KeyBasedAuthenticationNotPermitted:
    "the account allows no keys: use an identity, or allow shared key access",
  LeaseIdMissing: "somebody holds a lease on the blob or container: break it",
  LeaseNotPresentWithContainerOperation: "the container's lease is not held: break it",
  NoAuthenticationInformation: "set account_key or sas_token, or give this machine an identity",
  PublicAccessNotPermitted: "the account allows no anonymous access: set credentials",
  UnauthorizedBlobOverwrite:
    "the shared access signature may create but not replace: it needs sp=w",
};

const DENIED = new Set([
  ...Object.keys(HINTS),
  "AuthenticationFailed",
  "AuthorizationPermissionMismatch",
  "InvalidAuthenticationInfo",
]);
const CORRUPT = new Set(["Md5Mismatch", "Crc64Mismatch", "InvalidMd5"]);
const THROTTLED = new Set(["ServerBusy", "TooManyRequests"]);
const TRANSIENT = new Set([
  "InternalError",
  "OperationTimedOut",
  // Another upload of the same blob has dropped the staged blocks.
  "InvalidBlockList",
  "PendingCopyOperation",
  // The source of a copy was there a moment ago.
  "CannotVerifyCopySource",
  "SourceConditionNotMet",
]);
const CONDITION = new Set(["ConditionNotMet", "TargetConditionNotMet", "BlobAlreadyExists"]);

/** Turns a refused request into the error the engine understands. */
export function refusalError(refusal: Refusal): StorageError {
  const { status, headers, body } = refusal;
  const code = headers.get("x-ms-error-code") ?? xmlText(body, "Code") ?? "";
  const detail = xmlText(body, "AuthenticationErrorDetail") ?? xmlText(body, "Message") ?? "";
  // What follows the message's first line is an id for Microsoft.
  const said = [`HTTP ${status}`, code, detail.split("\n")[0]!.slice(0, 300)]
    .filter((part) => part !== "").join(", ");
  const what = `Cannot ${refusal.doing}: ${said}`;
  const kind = kindOf(status, code, refusal);
  const hint = kind === "denied" ? hintOf(code, detail, refusal) : "";
  const askedMs = kind === "throttled" || kind === "transient" ? retryAfterMs(headers) : undefined;
  return new StorageError(
    kind,
    hint === "" ? what : `${what}; ${hint}`,
    askedMs === undefined ? {} : { retryAfterMs: askedMs },
  );
}

function kindOf(status: number, code: string, refusal: Refusal): StorageErrorKind {
  const isAbsent = status === 404 && code === "BlobNotFound";
  if (refusal.conditional && (isAbsent || CONDITION.has(code))) return "conflict";
  if (isAbsent) return "absent";
  if (CORRUPT.has(code)) return "corrupt";
  if (THROTTLED.has(code) || status === 429) return "throttled";
  const refused = status === 401 || status === 403;
  if (TRANSIENT.has(code) && !refused) return "transient";
  if (DENIED.has(code) || refused) return refusal.renewed ? "transient" : "denied";
  // A 503 without a document is a load balancer's; both ask for patience.
  if (status === 503) return "throttled";
  if (status >= 500 || status === 408) return "transient";
  // Absent is only what says so itself (promise P3); any web server has a 404.
  if (status === 404) return "denied";
  if (status === 412) return "corrupt";
  return status >= 400 ? "permanent" : "transient";
}

/** What to do about it; empty where that is not known. */
function hintOf(code: string, detail: string, refusal: Refusal): string {
  if (code === "") return "this is not how Azure answers; check the endpoint";
  if (code === "AuthorizationPermissionMismatch") return permissionHint(refusal);
  // The emulator has one code for both kinds of failure.
  const unknown = code === "AuthorizationFailure" && detail.includes("failed to authenticate");
  if (unknown || code === "AuthenticationFailed" || code === "InvalidAuthenticationInfo") {
    return authenticationHint(refusal);
  }
  return HINTS[code] ?? "";
}

function permissionHint({ credentials, permission }: Refusal): string {
  if (credentials.kind === "sas") {
    const given = new URLSearchParams(credentials.query).get("sp") ?? "";
    return `the shared access signature has sp=${given} and lacks ${permission}: make one with ` +
      "sp=rcwdl (sp=rl for a backend that is only read)";
  }
  const role = permission === "r" || permission === "l" ? "Reader" : "Contributor";
  return `give the identity the role "Storage Blob Data ${role}" on the container or the account; ` +
    "a new role takes some minutes to be known";
}

function authenticationHint({ credentials, headers, nowMs }: Refusal): string {
  const theirs = Date.parse(headers.get("date") ?? "");
  const skew = Math.round((nowMs - theirs) / 1000);
  if (Math.abs(skew) >= MAX_SKEW_SECONDS) {
    return `this machine's clock is ${Math.abs(skew)} seconds ${skew > 0 ? "ahead" : "behind"}: ` +
      "set it (NTP)";
  }
  switch (credentials.kind) {
    case "key":
      return "the key is not the account's, or was replaced: correct account_key or account_name";
    case "token":
      return "the identity's token is not accepted: check its tenant, and the account's own";
    case "sas": {
      const times = new URLSearchParams(credentials.query);
      const start = times.get("st"), end = times.get("se");
      if (end !== null && Date.parse(end) <= nowMs) {
        return `the shared access signature ended at ${end}: make a new one`;
      }
      if (start !== null && Date.parse(start) > nowMs) {
        return `the shared access signature begins only at ${start}`;
      }
      return "the shared access signature is not valid: it was cut short, or its key was replaced";
    }
  }
}
