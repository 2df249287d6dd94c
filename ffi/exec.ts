/**
 * Typed binding of `shim/helper/exec.h`: becoming another program. It keeps our process, so its
 * signals, exit code, terminal and parent are as if we had never been there.
 *
 * @module
 */

import { type Bytes, cString, openHelper } from "./library.ts";

const SYMBOLS = {
  p4exec: { parameters: ["buffer", "buffer", "buffer", "u64"], result: "i32" },
} as const;

/**
 * Replaces this process by a program, looked up in PATH like a shell does. Does not return when that
 * succeeds. Texts are one character per byte.
 * @param args The arguments, the program's name first.
 * @param env `NAME=value` for each variable.
 * @param descriptors How many descriptors the program may have open; 0: as many as we, whose limit
 *   the runtime has raised.
 * @returns errno when it failed.
 */
export function execute(
  args: readonly string[],
  env: readonly string[],
  descriptors: bigint,
): number {
  const helper = openHelper(SYMBOLS);
  const name = cString(args[0]!);
  return -helper.symbols.p4exec(name, cStrings(args), cStrings(env), descriptors);
}

/** An array of C strings with a null pointer at its end, and the strings behind it. */
function cStrings(texts: readonly string[]): Bytes {
  const words = texts.length + 1;
  const textBytes = texts.reduce((sum, text) => sum + text.length + 1, 0);
  // A buffer made as such does not move; the engine moves the bytes of small arrays.
  const buffer = new ArrayBuffer(words * 8 + textBytes);
  const bytes = new Uint8Array(buffer);
  const pointers = new BigUint64Array(buffer, 0, words);
  const begin = Deno.UnsafePointer.value(Deno.UnsafePointer.of(buffer));
  let at = words * 8;
  for (const [i, text] of texts.entries()) {
    pointers[i] = begin + BigInt(at);
    bytes.set(cString(text), at);
    at += text.length + 1;
  }
  return bytes;
}
