/** Hashing on a thread of its own. @module */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { SLICE_BYTES } from "../../src/storage/backend.ts";
import { hex, sliceDigest } from "../../src/storage/content_digest.ts";
import { SliceHasher } from "../../src/storage/slice_hasher.ts";

function slice(size: number, first: number): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length: size }, (_, i) => (i * 7 + first) & 0xff);
}

Deno.test("slices are hashed on another thread, each answered with its own bytes", async () => {
  const hasher = new SliceHasher();
  const sizes = [SLICE_BYTES, 3, SLICE_BYTES - 1, 0, SLICE_BYTES];
  const expected = sizes.map((size, i) => hex(sliceDigest(slice(size, i))));
  const hashed = await Promise.all(sizes.map((size, i) => hasher.digest(slice(size, i))));
  assertEquals(hashed.map(({ digest }) => hex(digest)), expected);
  for (const [i, { bytes }] of hashed.entries()) {
    assertEquals([bytes.length, hex(sliceDigest(bytes))], [sizes[i], expected[i]]);
  }
  hasher.close();
});

Deno.test("a part of a larger buffer is hashed where it is", async () => {
  const hasher = new SliceHasher();
  const whole = slice(SLICE_BYTES + 1, 1);
  const part = whole.subarray(1);
  const { digest, bytes } = await hasher.digest(part);
  assertEquals(hex(digest), hex(sliceDigest(part)));
  assertEquals(bytes.buffer, whole.buffer);
  assertEquals(whole.length, SLICE_BYTES + 1);
  hasher.close();
});

Deno.test("a hasher that is closed gives up what it has, and starts again when it is asked", async () => {
  const hasher = new SliceHasher();
  const given = hasher.digest(slice(SLICE_BYTES, 1));
  hasher.close();
  await assertRejects(() => given, Error, "stopped");
  const { digest } = await hasher.digest(slice(SLICE_BYTES, 2));
  assertEquals(hex(digest), hex(sliceDigest(slice(SLICE_BYTES, 2))));
  hasher.close();
});
