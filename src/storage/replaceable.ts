/**
 * A backend that can be replaced while it is used, by one with other credentials for the same place.
 * Operations under way end with the one they began with, which is closed after the last of them.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import type {
  Backend,
  Content,
  CopySource,
  ListedObject,
  PutCondition,
  RangeOptions,
} from "./backend.ts";
import type { PartBudget } from "./part_budget.ts";

interface InUse {
  readonly backend: Backend;
  operations: number;
  isRetired: boolean;
}

/** See the module. */
export class ReplaceableBackend implements Backend {
  #current: InUse;

  constructor(backend: Backend) {
    this.#current = inUse(backend);
  }

  get label(): string {
    return this.#current.backend.label;
  }

  get memory(): PartBudget | undefined {
    return this.#current.backend.memory;
  }

  /** From now on the new backend is used. */
  replace(backend: Backend): void {
    const old = this.#current;
    this.#current = inUse(backend);
    old.isRetired = true;
    closeIfIdle(old);
  }

  put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    return this.#use((backend) => backend.put(path, content, signal, condition));
  }

  copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    source?: CopySource,
  ): Promise<{ etag: string }> {
    return this.#use((backend) => backend.copy(from, to, signal, source));
  }

  getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): ReturnType<Backend["getRange"]> {
    return this.#use((backend) => backend.getRange(path, offset, length, options));
  }

  getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): ReturnType<Backend["getIfChanged"]> {
    return this.#use((backend) => backend.getIfChanged(path, etag, length, signal));
  }

  head(path: DepotPath, signal: AbortSignal): ReturnType<Backend["head"]> {
    return this.#use((backend) => backend.head(path, signal));
  }

  delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    return this.#use((backend) => backend.delete(path, signal));
  }

  async *list(prefix: string, signal: AbortSignal, after?: string): AsyncIterable<ListedObject> {
    const used = this.#current;
    used.operations++;
    try {
      yield* used.backend.list(prefix, signal, after);
    } finally {
      used.operations--;
      closeIfIdle(used);
    }
  }

  close(): Promise<void> {
    return this.#current.backend.close();
  }

  async #use<T>(call: (backend: Backend) => Promise<T>): Promise<T> {
    const used = this.#current;
    used.operations++;
    try {
      return await call(used.backend);
    } finally {
      used.operations--;
      closeIfIdle(used);
    }
  }
}

function inUse(backend: Backend): InUse {
  return { backend, operations: 0, isRetired: false };
}

/** Nobody waits for it: connections that cannot be closed are not worth an error. */
function closeIfIdle({ backend, operations, isRetired }: InUse): void {
  if (isRetired && operations === 0) backend.close().catch(() => {});
}
