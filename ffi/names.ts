/**
 * Typed binding of `shim/helper/names.h`: a directory of the depot in which only the names count.
 *
 * @module
 */

import { FileError } from "./file_error.ts";
import { cString, holding, openHelper } from "./library.ts";

const SYMBOLS = {
  p4names_add: { parameters: ["i32", "buffer"], result: "i32" },
  p4names_remove: { parameters: ["i32", "buffer", "u64"], result: "i32", nonblocking: true },
} as const;

/** See the module. Names are one character per byte. */
export class Names {
  readonly #library = openHelper(SYMBOLS);
  readonly #calls = this.#library.symbols;
  /**
   * @param fd Descriptor of the directory.
   * @param dir Its path, for errors.
   */
  constructor(readonly fd: number, readonly dir: string) {}

  /** Adds a name that is not there yet. @throws FileError */
  add(name: string): void {
    const rc = this.#calls.p4names_add(this.fd, cString(name));
    if (rc < 0) throw new FileError(-rc, "add a name to", this.dir);
  }

  /** Removes names; those that are not there are no failure. @throws FileError */
  async remove(names: readonly string[]): Promise<void> {
    const packed = cString(names.join("\0"));
    const length = BigInt(names.length === 0 ? 0 : packed.length);
    const rc = await holding(this.#calls.p4names_remove(this.fd, packed, length), packed);
    if (rc < 0) throw new FileError(-rc, "remove names from", this.dir);
  }

  close(): void {
    this.#library.close();
  }
}
