/**
 * The file that the log goes to: appended to, followed when somebody rotated it away, and rotated by
 * ourselves where that is asked for (`log`, `log.1` the youngest old one, `log.2`, …).
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";

/** Mode of a log file that is created. */
const LOG_FILE_MODE = 0o640;

/** What bounds the files. */
export interface RotationLimits {
  /** Largest size before a new file is begun, bytes; 0: never. */
  readonly maxBytes: number;
  /** Old files that are kept. */
  readonly keep: number;
}

/** See the module's description. */
export class LogFile {
  readonly #path: string;
  #file: Deno.FsFile;
  #sizeBytes = 0;
  #limits: RotationLimits;

  /** @throws EnvironmentError when the file cannot be opened. */
  constructor(path: string, limits: RotationLimits) {
    this.#path = path;
    this.#limits = limits;
    this.#file = this.#open();
  }

  /** From now on. */
  limit(limits: RotationLimits): void {
    this.#limits = limits;
  }

  /**
   * Opens the path again.
   * @throws EnvironmentError when it cannot be opened; the old file is then still in use.
   */
  reopen(): void {
    const old = this.#file;
    this.#file = this.#open();
    old.close();
  }

  /** Appends whole lines. Never throws: a full disk must not end the daemon. */
  write(text: string): void {
    const bytes = new TextEncoder().encode(text);
    const { maxBytes } = this.#limits;
    const isFull = maxBytes > 0 && this.#sizeBytes > 0 && this.#sizeBytes + bytes.length > maxBytes;
    try {
      if (isFull) this.#rotate();
    } catch {
      // Lines matter more than the size of their file.
    }
    writeAll(this.#file, bytes);
    this.#sizeBytes += bytes.length;
  }

  close(): void {
    this.#file.close();
  }

  #rotate(): void {
    const { keep } = this.#limits;
    for (let n = keep - 1; n > 0; n--) {
      renameIfThere(`${this.#path}.${n}`, `${this.#path}.${n + 1}`);
    }
    Deno.renameSync(this.#path, `${this.#path}.1`);
    this.reopen();
  }

  #open(): Deno.FsFile {
    try {
      const file = Deno.openSync(this.#path, { append: true, create: true, mode: LOG_FILE_MODE });
      this.#sizeBytes = file.statSync().size;
      return file;
    } catch (error) {
      throw new EnvironmentError(
        `Cannot open the log file ${this.#path}: ${reasonOf(error)}; ` +
          `give a writable place with --log-file`,
      );
    }
  }
}

/** Writes everything, or gives up without a word: there is nowhere left to say so. */
export function writeAll(target: { writeSync(bytes: Uint8Array): number }, bytes: Uint8Array) {
  try {
    for (let rest = bytes; rest.length > 0;) rest = rest.subarray(target.writeSync(rest));
  } catch {
    // A full disk, or a pipe whose reader went away.
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    Deno.renameSync(from, to);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}
