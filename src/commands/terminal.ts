/**
 * Where commands write: results to standard output, messages for people to standard error.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";

/** The two streams; texts carry their own newlines. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether a person sees standard output, not a file or another program. */
  readonly isInteractive: boolean;
}

/** As a program ends that SIGPIPE killed; the runtime ignores that signal. */
const EXIT_BROKEN_PIPE = 128 + 13;

/** The process's own streams. When nobody reads the results any more (`… | head`) we end quietly. */
export function processTerminal(): Terminal {
  return {
    out: (text) => writeAll(Deno.stdout, text),
    err: (text) => writeAll(Deno.stderr, text),
    isInteractive: Deno.stdout.isTerminal(),
  };
}

function writeAll(stream: { writeSync(bytes: Uint8Array): number }, text: string): void {
  let bytes = new TextEncoder().encode(text);
  try {
    while (bytes.length > 0) bytes = bytes.subarray(stream.writeSync(bytes));
  } catch (error) {
    if (stream !== Deno.stdout) return; // nobody is left to be told
    if (error instanceof Deno.errors.BrokenPipe) Deno.exit(EXIT_BROKEN_PIPE);
    throw new EnvironmentError(`Cannot write the output: ${reasonOf(error)}`);
  }
}
