/**
 * Copies in parts, on whatever server speaks S3's protocol.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import type { S3Config } from "../../../src/config/config.ts";
import { openBackend } from "../../../src/storage/open_backend.ts";
import { copyObject } from "../../../src/storage/s3/s3_copy.ts";
import { fails } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { requestsTo } from "../versitygw.ts";

/** Copies an object in three parts; one that is not the source any more is refused. */
export async function copiesInParts(config: S3Config): Promise<void> {
  const backend = await openBackend(config);
  const { requests, close } = requestsTo(config);
  try {
    const bytes = someBytes(13 * 1024 * 1024);
    await backend.put(textPath("from"), contentOf(bytes), never);
    const source = await backend.head(textPath("from"), never);
    const limits = { wholeBytes: 6 * 1024 * 1024, partBytes: 6 * 1024 * 1024 };
    const copy = {
      requests,
      bucket: config.bucket,
      from: `${config.prefix}/from`,
      to: `${config.prefix}/to`,
      source,
      amzHeaders: [["x-amz-meta-p4cache-digest", source.digest!]] as const,
      limits,
      doing: "copy",
      signal: never,
    };
    const etag = await copyObject(copy);
    assertEquals(/-(\d+)"$/.exec(etag)?.[1], "3");
    const { info, bytes: end } = await backend.getRange(textPath("to"), 12_000_000, 5_000_000, {
      signal: never,
    });
    assertEquals([info.size, info.digest], [source.size, source.digest]);
    assertEquals(end, bytes.slice(12_000_000));
    const gone = { ...copy, source: { ...source, etag: '"other"' } };
    await fails("transient", () => copyObject(gone));
  } finally {
    close();
    await backend.close();
  }
}
