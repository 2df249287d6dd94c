/**
 * Where commands write: results to standard output, messages for people to standard error.
 *
 * @module
 */

/** The two streams; texts carry their own newlines. */
export interface Terminal {
  out(text: string): void;
  err(text: string): void;
  /** Whether a person sees standard output, not a file or another program. */
  readonly isInteractive: boolean;
}

/** The process's own streams. A reader that went away (`… | head`) ends the output quietly. */
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
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}
