/**
 * Counts and times what a backend is asked for, each attempt for itself.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  type PutCondition,
  type RangeOptions,
  receivedBytes,
  StorageError,
  type StorageErrorKind,
} from "./backend.ts";
import { DecoratedBackend, type Operation } from "./decorated.ts";

/** Takes down what a backend does. */
export interface BackendRecorder {
  begun(): void;
  /** @param failure Null: it succeeded, or was stopped by us. */
  ended(operation: Operation, seconds: number, failure: StorageErrorKind | null): void;
  /** Bytes of content that were acknowledged. */
  sent(bytes: number): void;
  received(bytes: number): void;
}

/** See the module. */
export class MeasuredBackend extends DecoratedBackend {
  readonly #recorder: BackendRecorder;

  constructor(inner: Backend, recorder: BackendRecorder) {
    super(inner);
    this.#recorder = recorder;
  }

  override async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const stored = await super.put(path, content, signal, condition);
    this.#recorder.sent(content.size);
    return stored;
  }

  override async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): ReturnType<Backend["getRange"]> {
    const got = await super.getRange(path, offset, length, options);
    this.#recorder.received(receivedBytes(got));
    return got;
  }

  override async getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): ReturnType<Backend["getIfChanged"]> {
    const got = await super.getIfChanged(path, etag, length, signal);
    if (got !== null) this.#recorder.received(got.bytes.length);
    return got;
  }

  /** Its time is what was waited for the backend, not what the reader took. */
  async *list(prefix: string, signal: AbortSignal, after?: string): AsyncIterable<ListedObject> {
    const entries = this.inner.list(prefix, signal, after)[Symbol.asyncIterator]();
    let seconds = 0;
    let failure: StorageErrorKind | null = null;
    this.#recorder.begun();
    try {
      for (;;) {
        const begunMs = performance.now();
        let next: IteratorResult<ListedObject>;
        try {
          next = await entries.next();
        } catch (error) {
          failure = failureOf(error, signal);
          throw error;
        } finally {
          seconds += (performance.now() - begunMs) / 1000;
        }
        if (next.done) return;
        yield next.value;
      }
    } finally {
      this.#recorder.ended("list", seconds, failure);
      await entries.return?.();
    }
  }

  protected override async around<T>(
    operation: Operation,
    call: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const begunMs = performance.now();
    let failure: StorageErrorKind | null = null;
    this.#recorder.begun();
    try {
      return await call();
    } catch (error) {
      failure = failureOf(error, signal);
      throw error;
    } finally {
      this.#recorder.ended(operation, (performance.now() - begunMs) / 1000, failure);
    }
  }
}

/** An operation that we stopped is no failure of the backend. */
function failureOf(error: unknown, signal: AbortSignal): StorageErrorKind | null {
  return error instanceof StorageError && !signal.aborted ? error.kind : null;
}
