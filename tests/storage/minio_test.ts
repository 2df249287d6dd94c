/** The S3 backend against MinIO. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { openBackend } from "../../src/storage/open_backend.ts";
import { hex, sliceDigest } from "../../src/storage/content_digest.ts";
import { checkReported, checksumHeader } from "../../src/storage/s3/s3_answers.ts";
import { conformance, fails } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { minioBinary, MinioServer } from "./minio.ts";
import { requestsTo } from "./versitygw.ts";
import { copiesInParts } from "./s3/parted_copies.ts";

const binary = minioBinary();
const missing = binary === null ? "no minio; set MINIO_BIN" : null;
const server = binary === null ? null : await MinioServer.start(binary);
globalThis.addEventListener("unload", () => server?.end());

let subjects = 0;

conformance("minio", missing, async () => {
  const backend = await openBackend(server!.config({ prefix: `subject-${++subjects}` }));
  return {
    backend,
    leftovers: () => Promise.resolve(server!.leftovers()),
    end: () => backend.close(),
  };
});

function onServer(sentence: string, test: (server: MinioServer) => Promise<void>): void {
  Deno.test({
    name: `minio: ${sentence}` + (missing === null ? "" : ` (skipped: ${missing})`),
    ignore: missing !== null,
    fn: () => test(server!),
  });
}

onServer("objects are stored as asked: encrypted, tagged, with a class", async (server) => {
  for (
    const changes of [
      { serverSideEncryption: true },
      { sseKmsKeyId: "test-key" },
      { objectTags: "team=p4&tier=cache", storageClass: "REDUCED_REDUNDANCY", requesterPays: true },
    ]
  ) {
    const backend = await openBackend(
      server.config({ prefix: `stored-${++subjects}`, ...changes }),
    );
    try {
      for (const size of [1000, 9 * 1024 * 1024]) {
        const [path, copy] = [textPath(`o${size}`), textPath(`copy${size}`)];
        const content = contentOf(someBytes(size));
        await backend.put(path, content, never);
        await backend.copy(path, copy, never);
        const { info, bytes } = await backend.getRange(copy, 0, 1000, { signal: never });
        assertEquals([info.size, info.digest], [size, content.digest]);
        assertEquals(bytes, someBytes(size).slice(0, 1000));
      }
    } finally {
      await backend.close();
    }
  }
});

onServer("what is wrong with bucket, keys or region is denied, and said", async (server) => {
  for (
    const [changes, said] of [
      [{ bucket: "no-such-bucket" }, "create the bucket"],
      [{ accessKey: "wrong-access" }, "does not know the access key"],
      [{ secretKey: "wrong-secret" }, "the secret key is not the access key's"],
    ] as const
  ) {
    const backend = await openBackend(server.config(changes));
    try {
      for (
        const call of [
          () => backend.head(textPath("x"), never),
          () => backend.getRange(textPath("x"), 0, 10, { signal: never }),
          () => backend.put(textPath("x"), contentOf(someBytes(5)), never),
        ]
      ) assertStringIncludes((await fails("denied", call)).message, said);
    } finally {
      await backend.close();
    }
  }
});

onServer(
  "what is too large for one request is copied in parts",
  (server) => copiesInParts(server.config({ prefix: `parts-${++subjects}` })),
);

onServer(
  "a checksum that goes with an object is checked and told by the server",
  async (server) => {
    const { requests, close } = requestsTo(server.config());
    const [bytes, other] = [someBytes(1000, 1), someBytes(1000, 2)];
    const put = (digest: Uint8Array) => ({
      method: "PUT" as const,
      key: `checksum-${++subjects}`,
      body: bytes,
      payloadDigest: hex(sliceDigest(bytes)),
      amzHeaders: [checksumHeader(digest)],
      doing: "store",
      signal: never,
    });
    try {
      const answer = await requests.send(put(sliceDigest(bytes)));
      await answer.cancel();
      checkReported(answer, sliceDigest(bytes), "store");
      await fails("corrupt", () => requests.send(put(sliceDigest(other))));
    } finally {
      close();
    }
  },
);
