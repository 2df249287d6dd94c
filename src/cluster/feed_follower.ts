/**
 * Follows a primary's change feed from a replica.
 *
 * Each look at the head is one conditional request. When it moved, the records since the last one are read
 * and applied in order; only then is the feed said to be followed up to the look before, at which the
 * head was still the older one: what was told before that look is in those records.
 *
 * Whatever keeps a record from being read (retention, another epoch, a first look) is a gap: everything may
 * have changed. A feed that is absent, unreadable or silent says nothing, and nothing is relied on.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { describeError } from "../observe/logging.ts";
import { type Backend, StorageError } from "../storage/backend.ts";
import {
  type Change,
  decodeChanges,
  decodeHead,
  FEED_HEAD,
  type FeedHead,
  MAX_FEED_BYTES,
  recordPath,
} from "./feed_format.ts";

/** Looks that are left out while there is no feed, for each that is made. */
const SELDOM = 15;

/** Told in the order of the feed. */
export interface FeedListener {
  /** The object was stored anew or removed. */
  changed(change: Change): void;
  /** Anything may have changed before this call. */
  gap(why: string): void;
  /** Everything that changed before `atMs` (since 1970) has been told. */
  followed(atMs: number): void;
}

/** What the follower works with. */
export interface FollowerParts {
  readonly backend: Pick<Backend, "getRange" | "getIfChanged">;
  readonly listener: FeedListener;
  readonly log: Logger;
  /** Since 1970. */
  readonly nowMs: () => number;
  /** Between two looks. */
  readonly pollMs: number;
}

/** How the feed is, for people. */
export type FeedState = "unknown" | "absent" | "followed" | "failing";

/** See the module's description. */
export class FeedFollower {
  readonly #parts: FollowerParts;
  readonly #abort = new AbortController();
  #etag: string | null = null;
  /** The epoch, and the last record of it that was told. */
  #at: { readonly epoch: string; last: number } | null = null;
  /** When the head was last seen not to have moved, or was told whole. */
  #seenMs: number | null = null;
  #state: FeedState = "unknown";
  #skip = 0;
  #timer: number | null = null;
  #look: Promise<void> | null = null;

  constructor(parts: FollowerParts) {
    this.#parts = parts;
  }

  get state(): FeedState {
    return this.#state;
  }

  start(): void {
    void this.poll();
    this.#timer = setInterval(() => {
      if (this.#state === "absent" && this.#skip++ % SELDOM !== 0) return;
      void this.poll();
    }, this.#parts.pollMs);
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#abort.abort();
    await this.#look;
  }

  /** One look. Never throws: without an answer nothing is told. */
  poll(): Promise<void> {
    this.#look ??= this.#poll()
      .then((state) => this.#become(state), (error) => this.#failed(error))
      .finally(() => this.#look = null);
    return this.#look;
  }

  async #poll(): Promise<FeedState> {
    const begunMs = this.#parts.nowMs();
    const head = await this.#changedHead();
    if (head !== null) {
      const isWhole = await this.#take(head.head);
      this.#etag = head.etag;
      if (isWhole && this.#seenMs !== null) this.#parts.listener.followed(this.#seenMs);
    }
    this.#seenMs = begunMs;
    return "followed";
  }

  /** Null when it did not move. */
  async #changedHead(): Promise<{ head: FeedHead; etag: string } | null> {
    const { backend } = this.#parts;
    const { signal } = this.#abort;
    const answer = this.#etag === null
      ? await backend.getRange(FEED_HEAD, 0, MAX_FEED_BYTES, { signal })
      : await backend.getIfChanged(FEED_HEAD, this.#etag, MAX_FEED_BYTES, signal);
    return answer === null ? null : { head: decodeHead(answer.bytes), etag: answer.info.etag };
  }

  /** Tells what the head has more than before; false when that was a gap. */
  async #take({ epoch, first, last }: FeedHead): Promise<boolean> {
    const { backend, listener } = this.#parts;
    const at = this.#at;
    if (at === null || at.epoch !== epoch || last < at.last) {
      this.#at = { epoch, last };
      listener.gap(at === null ? "the feed is read for the first time" : "its writer began anew");
      return false;
    }
    if (first > at.last + 1) return this.#gap(last, "older records were removed");
    while (at.last < last) {
      const path = recordPath(epoch, at.last + 1);
      const { signal } = this.#abort;
      let bytes: Uint8Array;
      try {
        ({ bytes } = await backend.getRange(path, 0, MAX_FEED_BYTES, { signal }));
      } catch (error) {
        if (!(error instanceof StorageError) || error.kind !== "absent") throw error;
        return this.#gap(last, "a record was removed");
      }
      for (const change of decodeChanges(bytes)) listener.changed(change);
      at.last++;
    }
    return true;
  }

  #gap(last: number, why: string): false {
    this.#at!.last = last;
    this.#parts.listener.gap(why);
    return false;
  }

  #failed(error: unknown): void {
    if (this.#abort.signal.aborted) return;
    // Where a key may not list, what is missing looks as if it were forbidden.
    const isAbsent = error instanceof StorageError &&
      (error.kind === "absent" || error.kind === "denied");
    if (isAbsent) {
      this.#etag = this.#at = this.#seenMs = null;
      return this.#become("absent");
    }
    this.#become("failing", describeError(error));
  }

  #become(state: FeedState, why = ""): void {
    const { log } = this.#parts;
    if (state === this.#state) return;
    this.#state = state;
    if (state === "absent") {
      log.info(
        "There is no change feed that may be read: copies are compared when they are opened",
      );
    }
    if (state === "followed") log.info("Following the change feed");
    if (state === "failing") log.warning(`Cannot follow the change feed: ${why}`);
  }
}
