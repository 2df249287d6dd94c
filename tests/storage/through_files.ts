/**
 * Content that goes from one open file to a backend, and back into another, by threads where they can.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import { ThreadedVersion } from "../../src/cache/threaded_version.ts";
import {
  type Backend,
  type Content,
  receivedBytes,
  SLICE_BYTES,
} from "../../src/storage/backend.ts";
import { hex } from "../../src/storage/content_digest.ts";
import { sinkInto } from "../../src/storage/file_transfer.ts";
import { TransferThreads } from "../../src/storage/transfer_threads.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { OpenFile } from "./open_file.ts";

/** Puts a file of so many bytes, and gets it slice by slice. */
export async function throughFiles(backend: Backend, size: number): Promise<void> {
  const path = textPath("from/file");
  const bytes = someBytes(size);
  using file = new OpenFile(bytes);
  const threads = new TransferThreads();
  const version = new ThreadedVersion(threads, file.version(), path, () => new Error("changed"));
  const content: Content = {
    ...contentOf(bytes),
    body: (offset, length) =>
      version.body(offset, length, () => Promise.resolve(bytes.slice(offset, offset + length))),
  };
  assertEquals((await version.sliceDigests()).map(hex), content.sliceDigests.map(hex));
  const { etag } = await backend.put(path, content, never);
  using copy = new OpenFile(new Uint8Array(size));
  for (let offset = 0; offset < size; offset += SLICE_BYTES) {
    const length = Math.min(SLICE_BYTES, size - offset);
    const into = sinkInto(threads, { fd: copy.fd, offset, length, digestFrom: offset });
    const part = await backend.getRange(path, offset, length, {
      ifMatch: etag,
      into,
      signal: never,
    });
    assertEquals([receivedBytes(part), part.info.size], [length, size]);
    const { written } = part;
    if (written === undefined) copy.write(part.bytes, offset);
    else assertEquals(hex(written.digest), hex(content.sliceDigests[offset / SLICE_BYTES]!));
  }
  assertEquals(Buffer.compare(copy.read(), bytes), 0);
  threads.close();
}
