/**
 * Retries for any backend, and one circuit for all its operations.
 *
 * Transient and throttled failures are tried again, a bounded number of times, after a wait with full
 * jitter that is never shorter than what the provider asked for. When many operations in a row found
 * the backend unreachable, the circuit opens: further ones fail at once, until a single probe after
 * a growing time succeeds.
 *
 * @module
 */

import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState,
  ConsecutiveBreaker,
  ExponentialBackoff,
  handleType,
} from "cockatiel";
import type { DepotPath } from "../cache/depot_path.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  type PutCondition,
  StorageError,
} from "./backend.ts";
import { stopped } from "./operation.ts";

/** How persistent the decorator is. */
export interface RetryOptions {
  /** Tries in all, at least 1. */
  readonly attempts: number;
  readonly backoff: Backoff;
  /** Transient failures in a row, over all operations, that open the circuit. */
  readonly failuresToOpen: number;
  /** How long the circuit stays open before a probe; doubles up to the maximum. */
  readonly open: Backoff;
}

/** What the daemon uses. */
export const RETRY_DEFAULTS: RetryOptions = {
  attempts: 5,
  backoff: { firstMs: 200, maxMs: 10_000 },
  failuresToOpen: 12,
  open: { firstMs: 1_000, maxMs: 30_000 },
};

/** What an attempt gave, where it says that the backend can be reached. */
type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** A failure that counts against the backend. */
class Unreachable extends Error {
  constructor(readonly failure: StorageError) {
    super(failure.message);
  }
}

/** See the module. */
export class RetryingBackend implements Backend {
  readonly #inner: Backend;
  readonly #options: RetryOptions;
  readonly #circuit: CircuitBreakerPolicy;
  #lastFailure = "";

  constructor(inner: Backend, options: RetryOptions = RETRY_DEFAULTS) {
    this.#inner = inner;
    this.#options = options;
    this.#circuit = circuitBreaker(handleType(Unreachable), {
      breaker: new ConsecutiveBreaker(options.failuresToOpen),
      halfOpenAfter: new ExponentialBackoff({
        initialDelay: options.open.firstMs,
        maxDelay: options.open.maxMs,
      }),
    });
  }

  get label(): string {
    return this.#inner.label;
  }

  /** Whether operations fail at once because the backend was found unreachable. */
  get isOpen(): boolean {
    return this.#circuit.state === CircuitState.Open;
  }

  put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    let attempts = 0;
    return this.#run(async () => {
      attempts++;
      try {
        return await this.#inner.put(path, content, signal, condition);
      } catch (error) {
        if (attempts === 1 || !(error instanceof StorageError) || error.kind !== "conflict") {
          throw error;
        }
        // The object in the way may be ours: stored by the attempt whose answer was lost.
        const there = await this.#inner.head(path, signal);
        const { size, digest, mtimeNs } = content;
        if (there.size !== size || there.digest !== digest || there.mtimeNs !== mtimeNs) {
          throw error;
        }
        return { etag: there.etag };
      }
    }, signal);
  }

  copy(from: DepotPath, to: DepotPath, signal: AbortSignal): Promise<{ etag: string }> {
    return this.#run(() => this.#inner.copy(from, to, signal), signal);
  }

  getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: { ifMatch?: string; signal: AbortSignal },
  ): ReturnType<Backend["getRange"]> {
    return this.#run(() => this.#inner.getRange(path, offset, length, options), options.signal);
  }

  getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): ReturnType<Backend["getIfChanged"]> {
    return this.#run(() => this.#inner.getIfChanged(path, etag, length, signal), signal);
  }

  head(path: DepotPath, signal: AbortSignal): ReturnType<Backend["head"]> {
    return this.#run(() => this.#inner.head(path, signal), signal);
  }

  delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    return this.#run(() => this.#inner.delete(path, signal), signal);
  }

  /** Goes on after the last object that was delivered when a page fails. */
  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    let last = after;
    let entries: AsyncIterator<ListedObject> | null = null;
    const advance = async () => {
      entries ??= this.#inner.list(prefix, signal, last)[Symbol.asyncIterator]();
      try {
        return await entries.next();
      } catch (error) {
        entries = null;
        throw error;
      }
    };
    try {
      for (;;) {
        const next = await this.#run(advance, signal);
        if (next.done) return;
        last = next.value.path;
        yield next.value;
      }
    } finally {
      await (entries as AsyncIterator<ListedObject> | null)?.return?.();
    }
  }

  async close(): Promise<void> {
    await this.#inner.close();
  }

  async #run<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    for (let attempt = 1;; attempt++) {
      try {
        return await this.#once(call, signal);
      } catch (error) {
        if (!worthRetrying(error) || signal.aborted || this.isOpen) throw error;
        if (attempt >= this.#options.attempts) throw error;
        // Not cockatiel's retry: its waits cannot be cut short by the signal.
        await pause(
          backoffMs(this.#options.backoff, attempt, error.options.retryAfterMs),
          signal,
        );
        if (signal.aborted) throw stopped(`use ${this.label}`, signal);
      }
    }
  }

  /** One attempt through the circuit. */
  async #once<T>(call: () => Promise<T>, signal: AbortSignal): Promise<T> {
    let outcome: Outcome<T>;
    try {
      outcome = await this.#circuit.execute(() => this.#attempt(call, signal));
    } catch (error) {
      if (error instanceof Unreachable) throw error.failure;
      if (!(error instanceof BrokenCircuitError)) throw error;
      throw new StorageError(
        "transient",
        `Cannot use ${this.label}: it was unreachable just now (${this.#lastFailure}); waiting ` +
          `before it is tried again`,
        { cause: error, retryAfterMs: this.#options.open.firstMs },
      );
    }
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
  }

  async #attempt<T>(call: () => Promise<T>, signal: AbortSignal): Promise<Outcome<T>> {
    try {
      return { value: await call() };
    } catch (error) {
      // Any answer proves that the backend can be reached; stopping says nothing about it.
      if (!(error instanceof StorageError) || error.kind !== "transient" || signal.aborted) {
        return { error };
      }
      this.#lastFailure = error.message;
      throw new Unreachable(error);
    }
  }
}

function worthRetrying(error: unknown): error is StorageError {
  return error instanceof StorageError &&
    (error.kind === "transient" || error.kind === "throttled");
}
