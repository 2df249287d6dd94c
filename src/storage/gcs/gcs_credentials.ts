/**
 * Where access tokens for Google Cloud Storage come from: the service account file that is named, else
 * the application-default credentials (file, workload identity federation, metadata server).
 *
 * The file is read anew for every token, so that its keys can be rotated without a restart.
 *
 * @module
 */

import type { GcsConfig } from "../../config/config.ts";
import { StorageError } from "../backend.ts";
import type { CredentialsFile } from "./google_token.ts";

/** Renewed this long before they end, ms. */
const RENEW_BEFORE_MS = 5 * 60_000;

/** A token that is refused when younger than this was never good, ms. */
const SURELY_VALID_MS = 60_000;

/** Longest wait for a token, ms. */
const TIMEOUT_MS = 60_000;

/** An access token. */
export interface AccessToken {
  readonly token: string;
  /** End of its life, ms since the epoch. */
  readonly expiresMs: number;
}

/** Gives a valid token, at once where it has one. */
export class TokenSource {
  readonly #load: () => Promise<AccessToken>;
  #held: AccessToken | null = null;
  #heldSinceMs = 0;
  #loading: Promise<AccessToken> | null = null;

  /** @param load Gets a new token; throws only StorageError. */
  constructor(load: () => Promise<AccessToken>) {
    this.#load = load;
  }

  /** @throws StorageError when there is none. */
  get(nowMs: number): string | Promise<string> {
    const held = this.#held;
    const leftMs = held === null ? 0 : held.expiresMs - nowMs;
    if (held === null || leftMs <= 0) return this.#renew(nowMs).then(({ token }) => token);
    // Still good: renew beside the requests; a failure shows when it has run out.
    if (leftMs <= RENEW_BEFORE_MS) this.#renew(nowMs).catch(() => {});
    return held.token;
  }

  /** Forgets a token that the server refused; says whether another one may be accepted. */
  refused(token: string, nowMs: number): boolean {
    if (this.#held?.token !== token) return true;
    this.#held = null;
    return nowMs - this.#heldSinceMs >= SURELY_VALID_MS;
  }

  #renew(nowMs: number): Promise<AccessToken> {
    this.#loading ??= this.#load().then((token) => {
      this.#heldSinceMs = nowMs;
      return this.#held = token;
    }).finally(() => this.#loading = null);
    return this.#loading;
  }
}

/**
 * The source for a backend; null where requests go without credentials: to an `http:` endpoint, which
 * is an emulator's, unless a file is named.
 * @param send Sends the requests for tokens.
 * @param timeoutMs Longest wait for a token.
 */
export function tokenSource(
  config: Pick<GcsConfig, "endpoint" | "credentialsFile" | "projectId">,
  send: typeof fetch,
  timeoutMs = TIMEOUT_MS,
): TokenSource | null {
  const file = config.credentialsFile;
  if (file === null && config.endpoint?.startsWith("http:")) return null;
  return new TokenSource(async () => {
    const credentials = file === null ? null : await readKeyFile(file);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(
      // The library itself waits for ever.
      () => late.reject(new Error(`timed out after ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    try {
      const { getGoogleToken } = await import("./google_token.ts");
      return await Promise.race([
        getGoogleToken(credentials, config.projectId, send),
        late.promise,
      ]);
    } catch (error) {
      throw tokenError(error, file);
    } finally {
      clearTimeout(timer);
    }
  });
}

async function readKeyFile(path: string): Promise<CredentialsFile> {
  let problem: string;
  try {
    const content = JSON.parse(await Deno.readTextFile(path));
    if (typeof content?.type === "string") return content;
    problem = 'it has no "type"';
  } catch (error) {
    // JSON's own message quotes the text, which may be a part of the key.
    problem = error instanceof SyntaxError
      ? "it is not JSON"
      : error instanceof Error
      ? error.message
      : String(error);
  }
  throw new StorageError(
    "denied",
    `Cannot use the credentials file ${path}: ${problem}; give a JSON key of a service account, or a ` +
      `file that gcloud made, that the daemon's user can read`,
  );
}

/** What of the library's errors is looked at. */
interface LibraryError {
  readonly message?: string;
  readonly response?: {
    readonly status?: number;
    readonly headers?: Headers;
    readonly data?: { readonly error?: unknown; readonly error_description?: unknown };
  };
  readonly code?: unknown;
}

function tokenError(error: unknown, file: string | null): StorageError {
  const { message = String(error), response, code } = error as LibraryError;
  const data = response?.data;
  const why = typeof data?.error === "string"
    ? `${data.error}: ${data.error_description ?? ""}`.slice(0, 300)
    : message.split("\n")[0]!.slice(0, 300);
  const from = file === null ? "the application-default credentials" : file;
  const what = `Cannot get an access token with ${from}: ${why}`;
  const status = response?.status ?? 0;
  const unreachable = response === undefined &&
    (code !== undefined || /fetch failed|error sending request|timed out|aborted/i.test(message));
  // The causes hold requests with secrets in them, so they are not passed on.
  if (unreachable || status >= 500 || status === 429 || status === 408) {
    return new StorageError("transient", what);
  }
  return new StorageError("denied", `${what}; ${hintOf(why, file, response?.headers)}`);
}

function hintOf(why: string, file: string | null, headers: Headers | undefined): string {
  if (/\biat\b|\bexp\b|short-lived|timeframe/i.test(why)) {
    const theirs = Date.parse(headers?.get("date") ?? "");
    const skew = Math.round((Date.now() - theirs) / 1000);
    const by = Number.isFinite(skew)
      ? ` (it is ${Math.abs(skew)} s ${skew < 0 ? "behind" : "ahead"})`
      : "";
    return `set this machine's clock by NTP${by}`;
  }
  if (/JWT signature|invalid_grant|invalid_client|account not found|disabled/i.test(why)) {
    return "the key or its account was deleted, disabled or replaced: make a new key" +
      (file === null ? "" : ` and put it into ${file}; it is read again without a restart`);
  }
  if (/default credentials/i.test(why)) {
    return "name a service account's key in credentials_file or GOOGLE_APPLICATION_CREDENTIALS, run " +
      "'gcloud auth application-default login', or give the machine a service account";
  }
  return "check that the credentials are complete and their account is enabled";
}
