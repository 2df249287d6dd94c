/**
 * Where a command's rows go: standard output, or a file.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";

/** The program that reads our output went away (`… | head`): nothing more needs to be written. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

/** An open output. */
export class ByteOutput {
  readonly #stream: { writeSync(bytes: Uint8Array): number };
  readonly #file: Deno.FsFile | null;
  readonly #name: string;

  /**
   * @param path The file to write, replaced if it is there; null: standard output.
   * @throws EnvironmentError when the file cannot be made.
   */
  constructor(path: string | null) {
    this.#name = path ?? "standard output";
    try {
      this.#file = path === null
        ? null
        : Deno.openSync(path, { write: true, create: true, truncate: true });
    } catch (error) {
      throw this.#failure(error);
    }
    this.#stream = this.#file ?? Deno.stdout;
  }

  /** Whether rows appear on the person's screen. */
  get isScreen(): boolean {
    return this.#file === null && Deno.stdout.isTerminal();
  }

  /** @throws ReaderGone, or EnvironmentError when the bytes cannot be written. */
  write(data: Uint8Array | string): void {
    let rest = typeof data === "string" ? new TextEncoder().encode(data) : data;
    try {
      while (rest.length > 0) rest = rest.subarray(this.#stream.writeSync(rest));
    } catch (error) {
      if (error instanceof Deno.errors.BrokenPipe) throw new ReaderGone();
      throw this.#failure(error);
    }
  }

  close(): void {
    this.#file?.close();
  }

  #failure(error: unknown): EnvironmentError {
    const why = reasonOf(error);
    return new EnvironmentError(`Cannot write ${this.#name}: ${why}`);
  }
}
