/**
 * Shared Key signatures for Azure Blob requests.
 *
 * Rules: Azure Storage REST reference, "Authorize with Shared Key", for the Blob service since
 * version 2015-02-21. The HMAC is made by hand: `createHmac` prints a deprecation warning on Deno 2.4.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { HmacKey } from "../s3/s3_signer.ts";

/** What is signed of a request. */
export interface SignedParts {
  readonly method: string;
  /** As it is sent: URI-encoded. */
  readonly path: string;
  /** Not encoded. */
  readonly query: Readonly<Record<string, string>>;
  /** All headers but `authorization`; lower-case names, each once. */
  readonly headers: readonly (readonly [string, string])[];
  /** Bytes of body. */
  readonly length: number;
}

/** Headers that stand in the signature by their place (`date` is given as `x-ms-date`). */
const BY_PLACE = [
  "content-md5",
  "content-type",
  "date",
  "if-modified-since",
  "if-match",
  "if-none-match",
  "if-unmodified-since",
  "range",
];

/** Signs with one account's key. */
export class AzureSigner {
  readonly #account: string;
  readonly #key: HmacKey;

  /** @param key The account key as the portal shows it, base64. */
  constructor(account: string, key: string) {
    this.#account = account;
    this.#key = new HmacKey(Uint8Array.from(Buffer.from(key, "base64")));
  }

  /** The `authorization` header's value. */
  sign({ method, path, query, headers, length }: SignedParts): string {
    const given = new Map(headers);
    // Encoding and language are never sent; a length of nought is written as nothing.
    let text = `${method}\n\n\n${length === 0 ? "" : length}\n`;
    for (const name of BY_PLACE) text += (given.get(name) ?? "") + "\n";
    const own = headers.filter(([name]) => name.startsWith("x-ms-"))
      .sort((a, b) => a[0] < b[0] ? -1 : 1);
    for (const [name, value] of own) text += `${name}:${value.trim().replace(/\s+/g, " ")}\n`;
    text += `/${this.#account}${path}`;
    for (const name of Object.keys(query).sort()) text += `\n${name}:${query[name]}`;
    return `SharedKey ${this.#account}:${this.#key.hash(text).digest("base64")}`;
  }
}
