/**
 * Retries for any backend, and one circuit for all its operations.
 *
 * Transient and throttled failures are tried again, a bounded number of times, after a wait with full
 * jitter. Where the provider asks to be left alone for a while, all operations do so. When many operations in a row found
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
import type { DepotPath } from "../depot_path.ts";
import { type Backoff, backoffMs, pause } from "./backoff.ts";
import {
  type Backend,
  type Content,
  type CopySource,
  type ListedObject,
  type PutCondition,
  StorageError,
} from "./backend.ts";
import { DecoratedBackend, type Operation } from "./decorated.ts";
import { stopped } from "./operation.ts";
import { isProbeObject } from "./probe.ts";

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
  open: { firstMs: 1_000, maxMs: 5_000 },
};

/** A provider that asks for more is asked again after this long, ms. */
const LONGEST_QUIET_MS = 300_000;

/** What an attempt gave, where it says that the backend can be reached. */
type Outcome<T> = { readonly value: T } | { readonly error: unknown };

/** A failure that counts against the backend. */
class Unreachable extends Error {
  constructor(readonly failure: StorageError) {
    super(failure.message);
  }
}

/** See the module. */
export class RetryingBackend extends DecoratedBackend {
  readonly #options: RetryOptions;
  readonly #circuit: CircuitBreakerPolicy;
  #lastFailure = "";
  /** The provider asked to be left alone until then, ms as {@link performance.now} counts. */
  #quietUntilMs = 0;
  /** Told of each put, copy and removal that may have taken effect, or may still. */
  onUnknownOutcome: (path: DepotPath) => void = () => {};
  /**
   * Told of each object that was stored, copied to or removed, or may have been, with the version that is
   * there now: empty when it was removed, or that is not known.
   */
  onChanged: (path: DepotPath, etag: string) => void = () => {};
  /** Told whenever the provider asks to slow down. */
  onThrottled: () => void = () => {};

  constructor(inner: Backend, options: RetryOptions = RETRY_DEFAULTS) {
    super(inner);
    this.#options = options;
    this.#circuit = circuitBreaker(handleType(Unreachable), {
      breaker: new ConsecutiveBreaker(options.failuresToOpen),
      halfOpenAfter: new ExponentialBackoff({
        initialDelay: options.open.firstMs,
        maxDelay: options.open.maxMs,
      }),
    });
  }

  /** Whether operations fail at once because the backend was found unreachable. */
  get isOpen(): boolean {
    return this.#circuit.state === CircuitState.Open;
  }

  /** Whether operations fail at once, for that reason or because the provider asked for it. */
  get isResting(): boolean {
    return this.isOpen || this.#quietMs() > this.#options.backoff.maxMs;
  }

  override put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    let attempts = 0;
    const call = async () => {
      attempts++;
      try {
        return await this.#changing(path, this.inner.put(path, content, signal, condition));
      } catch (error) {
        if (attempts === 1 || !(error instanceof StorageError) || error.kind !== "conflict") {
          throw error;
        }
        // The object in the way may be ours: stored by the attempt whose answer was lost.
        const there = await this.inner.head(path, signal);
        const { size, digest, mtimeNs } = content;
        if (there.size !== size || there.digest !== digest || there.mtimeNs !== mtimeNs) {
          throw error;
        }
        return { etag: there.etag };
      }
    };
    return this.around("put", call, signal);
  }

  override copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    source?: CopySource,
  ): Promise<{ etag: string }> {
    const call = () => this.#changing(to, this.inner.copy(from, to, signal, source));
    return this.around("copy", call, signal);
  }

  override delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    const call = () => this.#changing(path, this.inner.delete(path, signal));
    return this.around("delete", call, signal);
  }

  /** Goes on after the last object that was delivered when a page fails. */
  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    let last = after;
    let entries: AsyncIterator<ListedObject> | null = null;
    const advance = async () => {
      entries ??= this.inner.list(prefix, signal, last)[Symbol.asyncIterator]();
      try {
        return await entries.next();
      } catch (error) {
        entries = null;
        throw error;
      }
    };
    try {
      for (;;) {
        const next = await this.around("list", advance, signal);
        if (next.done) return;
        last = next.value.path;
        // What a probe could not remove is no object of the depot.
        if (!isProbeObject(last)) yield next.value;
      }
    } finally {
      await (entries as AsyncIterator<ListedObject> | null)?.return?.();
    }
  }

  async #changing<T extends { etag: string } | void>(
    path: DepotPath,
    change: Promise<T>,
  ): Promise<T> {
    try {
      const done = await change;
      this.onChanged(path, done?.etag ?? "");
      return done;
    } catch (error) {
      const isUnknown = error instanceof StorageError && (error.kind === "transient" ||
        // With a cause it was under way already.
        error.kind === "fenced" && error.cause !== undefined);
      if (isUnknown) {
        this.onUnknownOutcome(path);
        this.onChanged(path, "");
      }
      throw error;
    }
  }

  protected override async around<T>(
    _operation: Operation,
    call: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    for (let attempt = 1;; attempt++) {
      await this.#keepQuiet(signal);
      try {
        return await this.#once(call, signal);
      } catch (error) {
        if (!worthRetrying(error) || signal.aborted || this.isOpen) throw error;
        if (error.kind === "throttled") this.onThrottled();
        const { attempts, backoff } = this.#options;
        if (attempt >= attempts || (error.options.retryAfterMs ?? 0) > backoff.maxMs) throw error;
        // Not cockatiel's retry: its waits cannot be cut short by the signal.
        await pause(backoffMs(backoff, attempt, error.options.retryAfterMs), signal);
        if (signal.aborted) throw stopped(`use ${this.label}`, signal);
      }
    }
  }

  /**
   * Waits until the provider may be asked again: what it told one operation holds for all.
   * @throws StorageError throttled when that is longer than an operation may wait.
   */
  async #keepQuiet(signal: AbortSignal): Promise<void> {
    const leftMs = this.#quietMs();
    if (leftMs <= 0) return;
    const { backoff } = this.#options;
    if (leftMs > backoff.maxMs) {
      throw new StorageError(
        "throttled",
        `Cannot use ${this.label}: it asked to be left alone for ${
          Math.ceil(leftMs / 1000)
        } s more`,
        { retryAfterMs: leftMs },
      );
    }
    // Not all at the same instant.
    await pause(leftMs + Math.random() * backoff.firstMs, signal);
    if (signal.aborted) throw stopped(`use ${this.label}`, signal);
  }

  /** How long the provider is to be left alone yet; 0 or less when it is not. */
  #quietMs(): number {
    return this.#quietUntilMs - performance.now();
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
        { retryAfterMs: this.#options.open.firstMs },
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
        if (error instanceof StorageError) this.#noteRetryAfter(error);
        return { error };
      }
      this.#noteRetryAfter(error);
      this.#lastFailure = error.message;
      throw new Unreachable(error);
    }
  }

  #noteRetryAfter({ options: { retryAfterMs } }: StorageError): void {
    if (retryAfterMs === undefined) return;
    const untilMs = performance.now() + Math.min(retryAfterMs, LONGEST_QUIET_MS);
    this.#quietUntilMs = Math.max(this.#quietUntilMs, untilMs);
  }
}

function worthRetrying(error: unknown): error is StorageError {
  return error instanceof StorageError &&
    (error.kind === "transient" || error.kind === "throttled");
}
