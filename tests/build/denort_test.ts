/**
 * The runtime that the build puts under the program.
 *
 * @module
 */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { findRuntime, runtimeOf } from "../../src/build/denort.ts";

/** A compiled program as Deno lays it out: runtime, payload, trailer. */
function program(runtime: Uint8Array, payloadBytes: number, toldBytes = payloadBytes): Uint8Array {
  const bytes = new Uint8Array(runtime.length + payloadBytes + 16);
  bytes.set(runtime);
  const trailer = new DataView(bytes.buffer, bytes.length - 16);
  trailer.setUint32(0, 0x501e, true);
  trailer.setBigUint64(8, BigInt(toldBytes), true);
  return bytes;
}

const RUNTIME = crypto.getRandomValues(new Uint8Array(1000));

Deno.test("the runtime is what stands before a program's payload", () => {
  assertEquals(runtimeOf(program(RUNTIME, 77)), RUNTIME);
  assertEquals(runtimeOf(program(RUNTIME, 0)), RUNTIME);
});

Deno.test("the runtime is found in the middle of a larger buffer", () => {
  const whole = program(RUNTIME, 77);
  const larger = new Uint8Array(whole.length + 5);
  larger.set(whole, 5);
  assertEquals(runtimeOf(larger.subarray(5)), RUNTIME);
});

Deno.test("a program that ends otherwise, or tells an impossible length, is refused", () => {
  assertThrows(() => runtimeOf(RUNTIME), Error, "trailer");
  assertThrows(() => runtimeOf(new Uint8Array(3)), Error, "trailer");
  assertThrows(() => runtimeOf(program(RUNTIME, 77, 1078)), Error, "trailer");
});

Deno.test("DENORT_BIN names the runtime, whatever else could be had", async () => {
  const before = Deno.env.get("DENORT_BIN");
  Deno.env.set("DENORT_BIN", "/some/denort");
  try {
    assertEquals(await findRuntime("/no/such/cache"), "/some/denort");
  } finally {
    if (before === undefined) Deno.env.delete("DENORT_BIN");
    else Deno.env.set("DENORT_BIN", before);
  }
});
