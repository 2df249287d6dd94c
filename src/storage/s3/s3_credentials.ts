/**
 * Where S3 credentials come from: the configuration or the files it names, then the AWS_… environment
 * variables, then the SDK's provider chain (profiles, SSO, web identity, container and instance
 * roles), which is loaded only when it is needed.
 *
 * Rotation needs no restart: what ends is renewed before its end, files are read again every minute,
 * and what the server refuses is looked up anew at once.
 *
 * @module
 */

import type { S3Config } from "../../config/config.ts";
import { SecretFile } from "../../config/secret_file.ts";
import { StorageError } from "../backend.ts";
import type { Credentials } from "./s3_signer.ts";

/** Renewed this long before they expire, ms. */
const RENEW_BEFORE_MS = 5 * 60_000;

/** Files of keys are looked at this often, ms. */
const LOOK_AT_FILES_MS = 60_000;

/** Refused credentials are looked up anew this often at most, ms. */
const REPLACE_EVERY_MS = 10_000;

/** Credentials with, where they end, the time of their end. */
type Loaded = Credentials & { readonly expiration?: Date };

/** Gives valid credentials, at once where it has them. */
export class CredentialSource {
  readonly #load: (() => Promise<Loaded>) | null;
  #held: Loaded | null;
  #loading: Promise<Loaded> | null = null;
  #replacedMs = -Infinity;

  /** @param load Null when `held` is all there is. */
  constructor(held: Credentials | null, load: (() => Promise<Loaded>) | null) {
    this.#held = held;
    this.#load = load;
  }

  /** @throws StorageError denied when there are none. */
  get(nowMs: number): Credentials | Promise<Credentials> {
    const held = this.#held;
    if (held !== null) {
      const leftMs = (held.expiration?.getTime() ?? Infinity) - nowMs;
      if (leftMs > RENEW_BEFORE_MS) return held;
      if (leftMs > 0) {
        // Still good: renew beside the requests; a failure shows when they have run out.
        this.#renew().catch(() => {});
        return held;
      }
    }
    return this.#renew();
  }

  /**
   * Credentials instead of those that the server refused; null when there are no others.
   * @throws StorageError denied when none can be had any more.
   */
  async replace(refused: Credentials, nowMs: number): Promise<Credentials | null> {
    if (this.#load === null) return null;
    let others: Credentials | null = this.#held;
    if (others === null || isSame(others, refused)) {
      // Many requests are refused together, and a wrong key stays wrong for a while.
      if (this.#loading === null && nowMs - this.#replacedMs < REPLACE_EVERY_MS) return null;
      this.#replacedMs = nowMs;
      others = await this.#renew();
    }
    return isSame(others, refused) ? null : others;
  }

  #renew(): Promise<Loaded> {
    this.#loading ??= this.#loadOnce().finally(() => this.#loading = null);
    return this.#loading;
  }

  async #loadOnce(): Promise<Loaded> {
    try {
      if (this.#load === null) throw new Error("they have expired");
      return this.#held = await this.#load();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new StorageError(
        "denied",
        `Cannot get S3 credentials: ${why}; set access_key and secret_key, AWS_ACCESS_KEY_ID and ` +
          `AWS_SECRET_ACCESS_KEY, or a profile or role that the AWS SDK finds`,
        { cause: error },
      );
    }
  }
}

/** The source for a backend. @param environment Reads an environment variable. */
export function credentialSource(
  config: Pick<
    S3Config,
    "accessKey" | "secretKey" | "accessKeyFile" | "secretKeyFile" | "profile" | "region"
  >,
  environment: (name: string) => string | undefined,
): CredentialSource {
  const { accessKeyFile, secretKeyFile, profile, region } = config;
  if (accessKeyFile !== null || secretKeyFile !== null) {
    return new CredentialSource(null, keysFromFiles(config));
  }
  const idInEnvironment = profile === null ? environment("AWS_ACCESS_KEY_ID") : undefined;
  const accessKeyId = config.accessKey ?? idInEnvironment;
  const secretAccessKey = config.accessKey === null
    ? environment("AWS_SECRET_ACCESS_KEY")
    : config.secretKey;
  if (accessKeyId && secretAccessKey) {
    // The token belongs to the environment's key, wherever that one was read.
    const sessionToken = accessKeyId === idInEnvironment ? environment("AWS_SESSION_TOKEN") : "";
    return new CredentialSource(
      { accessKeyId, secretAccessKey, ...(sessionToken ? { sessionToken } : {}) },
      null,
    );
  }
  return new CredentialSource(null, async () => {
    const { fromNodeProviderChain } = await import("@aws-sdk/credential-providers");
    const options = { clientConfig: { region }, ignoreCache: true };
    return await fromNodeProviderChain(profile === null ? options : { ...options, profile })();
  });
}

/** Reads the keys again now and then: they are rotated by replacing the files. */
function keysFromFiles(
  config: Pick<S3Config, "accessKey" | "secretKey" | "accessKeyFile" | "secretKeyFile">,
): () => Promise<Loaded> {
  const reader = (path: string | null, key: string, given: string | null) => {
    const file = path === null ? null : new SecretFile(path, key);
    return () => file?.get() ?? given ?? "";
  };
  const id = reader(config.accessKeyFile, "access_key_file", config.accessKey);
  const secret = reader(config.secretKeyFile, "secret_key_file", config.secretKey);
  return () =>
    Promise.resolve({
      accessKeyId: id(),
      secretAccessKey: secret(),
      expiration: new Date(Date.now() + RENEW_BEFORE_MS + LOOK_AT_FILES_MS),
    });
}

function isSame(a: Credentials, b: Credentials): boolean {
  return a.accessKeyId === b.accessKeyId && a.secretAccessKey === b.secretAccessKey &&
    a.sessionToken === b.sessionToken;
}
