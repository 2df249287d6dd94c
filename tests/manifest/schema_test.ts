/** The bytes of rows, versions and keys (P7). @module */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import fc from "fast-check";
import {
  CLEAN,
  decodeRow,
  decodeVersion,
  DIRTY,
  encodeRow,
  encodeVersion,
  splitTimeKey,
  timeKey,
  UPLOADING,
} from "../../src/manifest/schema.ts";

const seconds = fc.nat({ max: 2 ** 31 });
const size = fc.maxSafeNat();

Deno.test("a row has the C++ implementation's bytes", () => {
  const row = { size: 0x0102, lastAccess: 5, createdAt: 6, state: CLEAN };
  const bytes = encodeRow(row, "pfx/a,v");
  assertEquals(
    [...bytes.subarray(0, 25)],
    [2, 1, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 2],
  );
  assertEquals(new TextDecoder().decode(bytes.subarray(25)), "pfx/a,v");
});

Deno.test("rows survive encoding", () => {
  const states = fc.constantFrom(DIRTY, UPLOADING, CLEAN);
  fc.assert(
    fc.property(size, seconds, seconds, states, (size, lastAccess, createdAt, state) => {
      const row = { size, lastAccess, createdAt, state };
      assertEquals(decodeRow(encodeRow(row, "key")), row);
    }),
  );
});

Deno.test("a value that is no row is refused", () => {
  assertThrows(() => decodeRow(new Uint8Array(24)), Error, "24 bytes");
  assertThrows(() => decodeRow(new Uint8Array(25).fill(9)), Error, "state 9");
});

Deno.test("versions survive encoding, times before 1970 too", () => {
  const mtimes = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 62n });
  fc.assert(
    fc.property(size, mtimes, fc.nat(0o7777), (size, mtimeNs, mode) => {
      const version = { size, mtimeNs, mode, digest: "sha256:00", etag: '"x"' };
      assertEquals(decodeVersion(encodeVersion(version)), version);
    }),
  );
});

Deno.test("queue keys sort by time, then by path, and split again", () => {
  fc.assert(
    fc.property(seconds, seconds, (a, b) => {
      const [ka, kb] = [timeKey(a, "x"), timeKey(b, "x")];
      assertEquals(ka < kb, a < b);
      assertEquals(splitTimeKey(ka), { seconds: a, path: "x" });
    }),
  );
});
