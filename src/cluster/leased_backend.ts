/**
 * Lets writes to the storage through only while this daemon holds the lease (`lease.ts`), and aborts those
 * under way when it is lost (P1). Reads always pass.
 *
 * A write that was aborted may have taken effect: it fails as `fenced` with a cause, so that its path is
 * looked at before anything relies on its object.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import {
  type Backend,
  type Content,
  type CopySource,
  type ListedObject,
  type PutCondition,
  StorageError,
} from "../storage/backend.ts";
import { DecoratedBackend, type Operation } from "../storage/decorated.ts";
import { isProbeObject } from "../storage/probe.ts";
import type { WriteRight } from "./write_right.ts";

/** See the module. */
export class LeasedBackend extends DecoratedBackend {
  readonly #right: Pick<WriteRight, "isHeld" | "why">;
  readonly #inFlight = new Set<AbortController>();

  constructor(inner: Backend, right: Pick<WriteRight, "isHeld" | "why">) {
    super(inner);
    this.#right = right;
  }

  /** Aborts what is under way: nothing may be written any more. */
  cutOff(): void {
    for (const controller of this.#inFlight) controller.abort();
  }

  override put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    return this.#write(path, signal, (signal) => super.put(path, content, signal, condition));
  }

  override copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    source?: CopySource,
  ): Promise<{ etag: string }> {
    return this.#write(to, signal, (signal) => super.copy(from, to, signal, source));
  }

  override delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    return this.#write(path, signal, (signal) => super.delete(path, signal));
  }

  list(prefix: string, signal: AbortSignal, after?: string): AsyncIterable<ListedObject> {
    return this.inner.list(prefix, signal, after);
  }

  protected override around<T>(_operation: Operation, call: () => Promise<T>): Promise<T> {
    return call();
  }

  async #write<T>(
    path: DepotPath,
    signal: AbortSignal,
    write: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    // The probe's are nobody's, and come before the lease.
    if (isProbeObject(path)) return await write(signal);
    if (!this.#right.isHeld) throw this.#refused();
    const controller = new AbortController();
    const abort = () => controller.abort(signal.reason);
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort);
    this.#inFlight.add(controller);
    try {
      return await write(controller.signal);
    } catch (error) {
      if (controller.signal.aborted && !signal.aborted) throw this.#refused(error);
      throw error;
    } finally {
      this.#inFlight.delete(controller);
      signal.removeEventListener("abort", abort);
    }
  }

  #refused(cause?: unknown): StorageError {
    const why = this.#right.why;
    return new StorageError("fenced", `Cannot write to ${this.label}: ${why}`, { cause });
  }
}
