/**
 * Typed binding of `shim/helper/memory.h`.
 *
 * @module
 */

import { openHelper } from "./library.ts";

const SYMBOLS = {
  p4memory_share: { parameters: [], result: "void" },
  p4memory_give_back: { parameters: [], result: "void", nonblocking: true },
} as const;

/** Gives memory that was freed back to the system, off the event loop. */
export async function giveBackFreedMemory(): Promise<void> {
  const library = openHelper(SYMBOLS);
  await library.symbols.p4memory_give_back();
  library.close();
}

/** Lets threads share the allocator's arenas, from now on: called before there are many threads. */
export function shareMemory(): void {
  const library = openHelper(SYMBOLS);
  library.symbols.p4memory_share();
  library.close();
}
