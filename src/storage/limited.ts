/**
 * Limits of what a backend is asked for: bytes a second up and down, operations a second.
 *
 * Where operations have to wait, restores go first: somebody waits for each of them. Bytes up and
 * down are apart and do not compete. Of bytes up, files of one slice go first: a few large ones would
 * else make the many wait.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  type ObjectPart,
  type PutCondition,
  type RangeOptions,
  receivedBytes,
  SLICE_BYTES,
} from "./backend.ts";
import { DecoratedBackend, type Operation } from "./decorated.ts";
import { stopped } from "./operation.ts";
import type { RateGate } from "./rate_gate.ts";

/**
 * What is counted before the first answer says how large an object is; the difference is charged
 * after. Most files are smaller than what is asked for.
 */
const GUESS_BYTES = 64 * 1024;

/** Null: no limit. The gates for bytes are shared by all backends of the machine's one line. */
export interface Limits {
  readonly up: RateGate | null;
  readonly down: RateGate | null;
  readonly requests: RateGate | null;
}

/** See the module. */
export class LimitedBackend extends DecoratedBackend {
  readonly #limits: Limits;

  constructor(inner: Backend, limits: Limits) {
    super(inner);
    this.#limits = limits;
  }

  override async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    const { up, requests } = this.#limits;
    if (content.size <= SLICE_BYTES) {
      // Before the request, whose time limit and measured time must not include the wait.
      await up?.enter(content.size, true, signal);
      return await super.put(path, content, signal, condition);
    }
    const enter = async (offset: number, length: number) => {
      // Each slice is a request of its own.
      if (offset > 0) await requests?.enter(1, false, signal);
      await up?.enter(length, false, signal);
    };
    const slow: Content = {
      ...content,
      read: async (offset, length) => {
        await enter(offset, length);
        return await content.read(offset, length);
      },
      ...(content.body === undefined ? {} : {
        body: async (offset, length) => {
          await enter(offset, length);
          return await content.body!(offset, length);
        },
      }),
    };
    return await super.put(path, slow, signal, condition);
  }

  override getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): ReturnType<Backend["getRange"]> {
    const taken = offset === 0 ? Math.min(length, GUESS_BYTES) : length;
    return this.#received(
      taken,
      options.signal,
      () => super.getRange(path, offset, length, options),
    );
  }

  override async getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): ReturnType<Backend["getIfChanged"]> {
    return await this.#received(0, signal, () => super.getIfChanged(path, etag, length, signal));
  }

  async *list(prefix: string, signal: AbortSignal, after?: string): AsyncIterable<ListedObject> {
    await this.#admit(false, `list ${this.label}`, signal);
    yield* this.inner.list(prefix, signal, after);
  }

  protected override async around<T>(
    operation: Operation,
    call: () => Promise<T>,
    signal: AbortSignal,
  ): Promise<T> {
    const isWaitedFor = operation === "get" || operation === "head" || operation === "revalidate";
    await this.#admit(isWaitedFor, `use ${this.label}`, signal);
    return call();
  }

  async #admit(isUrgent: boolean, doing: string, signal: AbortSignal): Promise<void> {
    await this.#limits.requests?.enter(1, isUrgent, signal);
    if (signal.aborted) throw stopped(doing, signal);
  }

  /** Takes so many bytes before the call, and charges the difference to what came. */
  async #received<T extends ObjectPart | null>(
    taken: number,
    signal: AbortSignal,
    call: () => Promise<T>,
  ): Promise<T> {
    const { down } = this.#limits;
    await down?.enter(taken, true, signal);
    let came = 0;
    try {
      const got = await call();
      came = got === null ? 0 : receivedBytes(got);
      return got;
    } finally {
      down?.charge(came - taken);
    }
  }
}
