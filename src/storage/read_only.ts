/**
 * A backend that is only read: whatever would change it is refused here, before any request is made.
 *
 * @module
 */

import { type Backend, StorageError } from "./backend.ts";
import { DecoratedBackend, type Operation } from "./decorated.ts";

const CHANGING: ReadonlySet<Operation> = new Set(["put", "copy", "delete"]);

/** See the module. */
export class ReadOnlyBackend extends DecoratedBackend {
  constructor(inner: Backend) {
    super(inner);
  }

  list(prefix: string, signal: AbortSignal, after?: string): ReturnType<Backend["list"]> {
    return this.inner.list(prefix, signal, after);
  }

  /** @throws StorageError permanent, for every change. */
  protected override around<T>(operation: Operation, call: () => Promise<T>): Promise<T> {
    if (!CHANGING.has(operation)) return call();
    const error = new StorageError(
      "permanent",
      `Cannot ${operation} an object of ${this.label}: it is only read here (read_only, secondary)`,
    );
    return Promise.reject(error);
  }
}
