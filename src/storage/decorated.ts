/**
 * A backend around another one, whose operations all go through one function.
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

/** Names of the operations, as metrics call them. */
export const OPERATIONS = ["put", "copy", "get", "revalidate", "head", "delete", "list"] as const;
/** One of {@link OPERATIONS}. */
export type Operation = typeof OPERATIONS[number];

/** See the module. */
export abstract class DecoratedBackend implements Backend {
  protected constructor(protected readonly inner: Backend) {}

  /** Makes the call, and does around it what the decorator is for. A listing is not one call. */
  protected abstract around<T>(
    operation: Operation,
    call: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T>;

  abstract list(prefix: string, signal: AbortSignal, after?: string): AsyncIterable<ListedObject>;

  get label(): string {
    return this.inner.label;
  }

  put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    return this.around("put", () => this.inner.put(path, content, signal, condition), signal);
  }

  copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    source?: CopySource,
  ): Promise<{ etag: string }> {
    return this.around("copy", () => this.inner.copy(from, to, signal, source), signal);
  }

  getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): ReturnType<Backend["getRange"]> {
    const call = () => this.inner.getRange(path, offset, length, options);
    return this.around("get", call, options.signal);
  }

  getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): ReturnType<Backend["getIfChanged"]> {
    const call = () => this.inner.getIfChanged(path, etag, length, signal);
    return this.around("revalidate", call, signal);
  }

  head(path: DepotPath, signal: AbortSignal): ReturnType<Backend["head"]> {
    return this.around("head", () => this.inner.head(path, signal), signal);
  }

  delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    return this.around("delete", () => this.inner.delete(path, signal), signal);
  }

  close(): Promise<void> {
    return this.inner.close();
  }
}
