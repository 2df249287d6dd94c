/** The signer against the SDK's, the keys against themselves. @module */

import { createHash, createHmac } from "node:crypto";
import { SignatureV4 } from "@smithy/signature-v4";
import fc from "fast-check";
import { assertEquals } from "deno-std/assert/mod.js";
import { pathProblem } from "../../../src/depot_path.ts";
import { EMPTY_DIGEST, S3Signer } from "../../../src/storage/s3/s3_signer.ts";
import {
  escapePath,
  keyOfPath,
  pathOfKey,
  unescapePath,
  uriEncode,
} from "../../../src/storage/object_keys.ts";

/** SHA-256 and HMAC as the SDK wants them given. */
class Sha256 {
  readonly #hash;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined
      ? createHash("sha256")
      : createHmac("sha256", secret as Uint8Array);
  }
  update(data: Uint8Array): void {
    this.#hash.update(data);
  }
  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest());
  }
  reset(): void {}
}

const byteString = (bounds: { minLength?: number; maxLength?: number }) =>
  fc.uint8Array(bounds).map((bytes) => String.fromCharCode(...bytes));
const path = byteString({ minLength: 1, maxLength: 40 }).filter((p) => pathProblem(p) === null);
const visible = fc.string({
  unit: fc.integer({ min: 0x20, max: 0x7e }).map((c) => String.fromCharCode(c)),
  minLength: 1,
  maxLength: 20,
});

Deno.test("s3: every request is signed as the SDK would sign it", async () => {
  await fc.assert(
    fc.asyncProperty(
      path,
      fc.constantFrom("GET", "PUT", "HEAD", "DELETE", "POST"),
      fc.dictionary(fc.constantFrom("uploadId", "prefix", "list-type", "uploads"), visible),
      fc.dictionary(fc.stringMatching(/^[a-z0-9-]{1,12}$/), visible),
      visible,
      fc.option(visible),
      fc.date({
        min: new Date("2000-01-01"),
        max: new Date("2090-01-01"),
        noInvalidDate: true,
      }),
      async (key, method, query, meta, secretAccessKey, token, date) => {
        const credentials = {
          accessKeyId: "AKIDEXAMPLE",
          secretAccessKey,
          ...(token === null ? {} : { sessionToken: token }),
        };
        const headers = Object.entries(meta)
          .map(([name, value]) => ["x-amz-meta-" + name, value] as const);
        const encodedPath = "/" + uriEncode(keyOfPath("", key), true);
        const ours = new S3Signer("eu-west-1").sign(
          {
            method,
            host: "bucket.example.com:9000",
            path: encodedPath,
            query: Object.keys(query).sort()
              .map((name) => `${name}=${uriEncode(query[name]!, false)}`).join("&"),
            headers,
            payloadDigest: EMPTY_DIGEST,
          },
          credentials,
          date.getTime(),
        );
        const smithy = new SignatureV4({
          credentials,
          region: "eu-west-1",
          service: "s3",
          sha256: Sha256,
          uriEscapePath: false,
        });
        const theirs = await smithy.sign({
          method,
          protocol: "https:",
          hostname: "bucket.example.com",
          port: 9000,
          path: encodedPath,
          query,
          headers: {
            host: "bucket.example.com:9000",
            ...Object.fromEntries(headers),
            "x-amz-content-sha256": EMPTY_DIGEST,
          },
        }, { signingDate: date });
        assertEquals(Object.fromEntries(ours)["authorization"], theirs.headers["authorization"]);
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("s3: each path has one key, and each key leads back to it", () => {
  fc.assert(fc.property(path, fc.constantFrom("", "p", "p/q"), (path, prefix) => {
    assertEquals(pathOfKey(prefix, keyOfPath(prefix, path)), path);
    assertEquals(unescapePath(escapePath(path)), path);
  }));
});

Deno.test("s3: keys that no path has are not taken for one", () => {
  for (
    const key of [
      "p/.p4cache/names/plain",
      "p/.p4cache/x",
      "p/a//b",
      "p/a/",
      "q/a",
      "p/.p4cache/names/%e9",
    ]
  ) {
    assertEquals(pathOfKey("p", key), null, key);
  }
});
