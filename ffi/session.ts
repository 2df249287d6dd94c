/**
 * Process sessions and standard streams: what a daemon needs to leave its terminal (setsid(2), dup2(2)).
 *
 * @module
 */

import { cString } from "./library.ts";

const O_RDWR = 2;
const DESCRIPTORS = "/proc/self/fd";

/** Makes this process the leader of a new session without terminal; false when it already leads one. */
export function startSession(): boolean {
  const libc = Deno.dlopen("libc.so.6", { setsid: { parameters: [], result: "i32" } });
  try {
    return libc.symbols.setsid() >= 0;
  } finally {
    libc.close();
  }
}

/**
 * Points the given standard streams at `/dev/null`, with every copy of them that this process holds:
 * the runtime writes through copies of its own.
 * @throws Error when one cannot be replaced
 */
export function silence(streams: readonly (0 | 1 | 2)[]): void {
  const libc = Deno.dlopen("libc.so.6", {
    open: { parameters: ["buffer", "i32"], result: "i32" },
    dup2: { parameters: ["i32", "i32"], result: "i32" },
    close: { parameters: ["i32"], result: "i32" },
  });
  try {
    const copies = copiesOf(streams);
    const empty = libc.symbols.open(cString("/dev/null"), O_RDWR);
    if (empty < 0) throw new Error("Cannot detach: /dev/null does not open");
    for (const descriptor of copies) {
      if (libc.symbols.dup2(empty, descriptor) < 0) {
        throw new Error(`Cannot detach: descriptor ${descriptor} cannot be replaced`);
      }
    }
    libc.symbols.close(empty);
  } finally {
    libc.close();
  }
}

/** Descriptors of this process that lead where the given ones lead. */
function copiesOf(descriptors: readonly number[]): number[] {
  const targets = new Set(descriptors.map(targetOf).filter((target) => target !== ""));
  return [...Deno.readDirSync(DESCRIPTORS)]
    .map((entry) => Number(entry.name))
    .filter((descriptor) => targets.has(targetOf(descriptor)));
}

/** Where a descriptor leads, as proc(5) names it; a closed one leads nowhere. */
function targetOf(descriptor: number): string {
  try {
    return Deno.readLinkSync(`${DESCRIPTORS}/${descriptor}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
