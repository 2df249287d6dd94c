/**
 * Typed binding of `shim/helper/notify.h`: messages to the service manager.
 *
 * @module
 */

import { FileError } from "./file_error.ts";
import { cString, openHelper } from "./library.ts";

const SYMBOLS = {
  p4notify_send: { parameters: ["buffer", "u32", "buffer", "u32"], result: "i32" },
  p4notify_monotonic_us: { parameters: [], result: "i64" },
} as const;

/** A way to the service manager's socket. */
export class NotifySocket {
  readonly #library = openHelper(SYMBOLS);
  readonly #name: string;

  /** @param name A path, or `@name` for an abstract one; one character per byte. */
  constructor(name: string) {
    this.#name = name;
  }

  /** Sends one message. @throws FileError when nobody takes it. */
  send(message: string): void {
    const bytes = new TextEncoder().encode(message);
    const rc = this.#library.symbols.p4notify_send(
      cString(this.#name),
      this.#name.length,
      bytes,
      bytes.length,
    );
    if (rc !== 0) throw new FileError(-rc, "notify", this.#name);
  }

  /** The machine's monotonic clock, microseconds. */
  monotonicUs(): bigint {
    return this.#library.symbols.p4notify_monotonic_us();
  }

  close(): void {
    this.#library.close();
  }
}
