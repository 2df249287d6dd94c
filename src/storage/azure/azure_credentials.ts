/**
 * Where Azure credentials come from: the account's key, a shared access signature, or a token from
 * the identity library's chain (environment, workload identity, managed identity, Azure CLI).
 *
 * Keys and signatures in files are read again when the service refuses them, so that they can be
 * replaced without a restart.
 *
 * @module
 */

import type { AzureConfig } from "../../config/config.ts";
import { SecretFile } from "../../config/secret_file.ts";
import { StorageError } from "../backend.ts";
import { AzureSigner } from "./azure_signer.ts";

/** Tokens are renewed this long before they expire, ms. */
const RENEW_BEFORE_MS = 5 * 60_000;

/** A token refused when it is younger than this, ms, is not refused for its age. */
const FRESH_MS = 60_000;

/** For every cloud: Microsoft Entra documentation, "Authorize with Microsoft Entra ID". */
const SCOPE = "https://storage.azure.com/.default";

/** What a request is authorised with. */
export type Credentials =
  | { readonly kind: "key"; readonly signer: AzureSigner }
  | { readonly kind: "sas"; readonly query: string }
  | { readonly kind: "token"; readonly token: string };

/** Gives credentials, at once where it has them. */
export interface CredentialSource {
  /** @throws StorageError denied when there are none. */
  get(nowMs: number): Credentials | Promise<Credentials>;
  /** Takes note that the service refused them; says whether there may be better ones by now. */
  refused(credentials: Credentials, nowMs: number): boolean;
}

/** A key or a signature, from the configuration or from a file. */
class SecretSource implements CredentialSource {
  readonly #file: SecretFile | null;
  readonly #make: (secret: string) => Credentials;
  #secret: string;
  #held: Credentials;

  constructor(secret: string, file: SecretFile | null, make: (secret: string) => Credentials) {
    this.#secret = secret;
    this.#file = file;
    this.#make = make;
    this.#held = make(secret);
  }

  get(): Credentials {
    return this.#held;
  }

  refused(credentials: Credentials): boolean {
    // Another request's refusal has led to new ones.
    if (credentials !== this.#held) return true;
    let secret: string | undefined;
    try {
      secret = this.#file?.get();
    } catch {
      // Unreadable just now; the refusal itself is the error to report.
    }
    if (secret === undefined || secret === this.#secret) return false;
    this.#secret = secret;
    this.#held = this.#make(secret);
    return true;
  }
}

/** A token with the time of its end, ms since the epoch. */
export interface Token {
  readonly token: string;
  readonly expiresOnTimestamp: number;
}

/** Tokens, kept until shortly before their end. */
export class TokenSource implements CredentialSource {
  readonly #load: () => Promise<Token>;
  #held: Credentials | null = null;
  #expiresMs = 0;
  #loadedMs = 0;
  #loading: Promise<Credentials> | null = null;

  constructor(load: () => Promise<Token>) {
    this.#load = load;
  }

  get(nowMs: number): Credentials | Promise<Credentials> {
    const leftMs = this.#expiresMs - nowMs;
    if (this.#held === null || leftMs <= 0) return this.#renew(nowMs);
    // Still good: renew beside the requests; a failure shows when it has run out.
    if (leftMs <= RENEW_BEFORE_MS) this.#renew(nowMs).catch(() => {});
    return this.#held;
  }

  refused(credentials: Credentials, nowMs: number): boolean {
    if (credentials !== this.#held) return true;
    if (nowMs - this.#loadedMs < FRESH_MS) return false;
    this.#held = null;
    return true;
  }

  #renew(nowMs: number): Promise<Credentials> {
    this.#loading ??= this.#loadOnce(nowMs).finally(() => this.#loading = null);
    return this.#loading;
  }

  async #loadOnce(nowMs: number): Promise<Credentials> {
    let loaded: Token;
    try {
      loaded = await this.#load();
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new StorageError(
        "denied",
        `Cannot get an Azure token: ${why}; set account_key or sas_token, or give this machine an ` +
          "identity that the Azure identity library finds (environment, workload identity, " +
          "managed identity, Azure CLI)",
        { cause: error },
      );
    }
    this.#loadedMs = nowMs;
    this.#expiresMs = loaded.expiresOnTimestamp;
    return this.#held = { kind: "token", token: loaded.token };
  }
}

/** The source for a backend. @param account Name of the account, as signatures hold it. */
export function credentialSource(config: AzureConfig, account: string): CredentialSource {
  const { accountKey, accountKeyFile, sasToken, sasTokenFile } = config;
  if (accountKey !== null) {
    return new SecretSource(
      accountKey,
      accountKeyFile === null ? null : new SecretFile(accountKeyFile, "account_key_file"),
      (key) => ({ kind: "key", signer: new AzureSigner(account, key) }),
    );
  }
  if (sasToken !== null) {
    return new SecretSource(
      sasToken,
      sasTokenFile === null ? null : new SecretFile(sasTokenFile, "sas_token_file"),
      (token) => ({ kind: "sas", query: token.replace(/^\?/, "") }),
    );
  }
  let chain: Promise<() => Promise<Token>> | null = null;
  return new TokenSource(async () => {
    chain ??= identityChain();
    return await (await chain)();
  });
}

/** The identity library is loaded when the first token is needed. */
async function identityChain(): Promise<() => Promise<Token>> {
  const { DefaultAzureCredential } = await import("@azure/identity");
  const credential = new DefaultAzureCredential();
  return () => credential.getToken(SCOPE);
}
