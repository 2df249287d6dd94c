/**
 * The names under which the program is started: `p4-cache-access` is a link to it, and means its
 * sub-command `access`.
 *
 * @module
 */

import { basename } from "node:path/posix";

const ACCESS_PROGRAM = "p4-cache-access";

/** The arguments with the sub-command that the program's name stands for. */
export function argumentsFor(
  args: readonly string[],
  startedAs: string = nameOfProcess(),
): readonly string[] {
  return basename(startedAs) === ACCESS_PROGRAM ? ["access", ...args] : args;
}

/** The name that the caller gave; the runtime only knows the file behind the link. */
function nameOfProcess(): string {
  try {
    return Deno.readTextFileSync("/proc/self/cmdline").split("\0")[0]!;
  } catch {
    return ""; // no /proc: started under its own name
  }
}
