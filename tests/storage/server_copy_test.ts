/**
 * Copies that the provider makes from another bucket, and when it is asked for them.
 *
 * @module
 */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { BackendConfig } from "../../src/config/config.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { serverCopy } from "../../src/storage/server_copy.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { fakeGcsBinary, gcsConfig, startFakeGcs } from "./fake_gcs.ts";
import { s3Config, startVersitygw, versitygwBinary } from "./versitygw.ts";

Deno.test("the provider copies only within one service, with the same credentials", () => {
  const s3 = s3Config("http://127.0.0.1:1", { bucket: "new", prefix: "depot" });
  const old = { ...s3, bucket: "old", prefix: "was", storageClass: "STANDARD_IA" };
  assertEquals(serverCopy(old, s3), { bucket: "old", prefix: "was" });
  assertEquals(serverCopy({ ...old, endpoint: "http://127.0.0.1:2" }, s3), null);
  assertEquals(serverCopy({ ...old, region: "elsewhere" }, s3), null);
  assertEquals(serverCopy({ ...old, accessKey: "another" }, s3), null);
  assertEquals(serverCopy(gcsConfig("http://127.0.0.1:1"), s3), null);
  assertEquals(serverCopy({ type: "nfs", path: "/a" }, { type: "nfs", path: "/b" }), null);
});

/**
 * Copies from one bucket to another, and looks at what comes.
 * @param isStrict Whether the server copies no other version than the one that it is asked for.
 */
async function copyBetween(
  from: BackendConfig,
  to: BackendConfig,
  isStrict: boolean,
): Promise<void> {
  const old = await openBackend(from), backend = await openBackend(to);
  try {
    const place = serverCopy(from, to)!;
    for (const path of [textPath("main/plain,v"), textPath("main/\u00e4 %20+\x01")]) {
      const bytes = someBytes(1000, 5);
      await old.put(path, contentOf(bytes, { mode: 0o640, mtimeNs: 1_234_567_891n }), never);
      const info = await old.head(path, never);
      await backend.copy(path, path, never, { ...place, info });
      const copy = await backend.getRange(path, 0, 2000, { signal: never });
      assertEquals(copy.bytes, bytes);
      const { size, digest, mode, mtimeNs } = copy.info;
      assertEquals([size, digest], [info.size, info.digest]);
      assertEquals([mode, mtimeNs], [0o640, 1_234_567_891n]);
      if (!isStrict) continue;
      // Another version by now: nothing is copied.
      await backend.delete(path, never);
      await old.put(path, contentOf(someBytes(7, 6)), never);
      await assertRejects(
        () => backend.copy(path, path, never, { ...place, info }),
        StorageError,
        "changed",
      );
      await assertRejects(() => backend.head(path, never), StorageError);
    }
  } finally {
    await old.close();
    await backend.close();
  }
}

const versitygw = versitygwBinary();
if (versitygw === null) console.log("copies between S3 buckets are skipped: no versitygw");

Deno.test({
  name: "S3 copies from one bucket to another",
  ignore: versitygw === null,
  fn: async () => {
    const server = await startVersitygw(versitygw!);
    try {
      Deno.mkdirSync(`${server.dir}/old-bucket`);
      await copyBetween(
        server.config({ bucket: "old-bucket", prefix: "" }),
        server.config({ prefix: "depot" }),
        true,
      );
    } finally {
      await server.end();
    }
  },
});

const fakeGcs = fakeGcsBinary();
if (fakeGcs === null) console.log("copies between GCS buckets are skipped: no fake-gcs-server");

Deno.test({
  name: "Google Cloud Storage copies from one bucket to another",
  ignore: fakeGcs === null,
  fn: async () => {
    const server = await startFakeGcs(fakeGcs!);
    try {
      const made = await fetch(`${server.endpoint}/storage/v1/b?project=test`, {
        method: "POST",
        body: JSON.stringify({ name: "old-bucket" }),
      });
      await made.body?.cancel();
      await copyBetween(
        server.config({ bucket: "old-bucket", prefix: "was" }),
        server.config({ prefix: "depot" }),
        // This one does not look at ifSourceGenerationMatch.
        false,
      );
    } finally {
      await server.end();
    }
  },
});
