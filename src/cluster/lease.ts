/**
 * One writer for one place: the lease that a read-write daemon holds on its location in the bucket.
 *
 * The lease is an object (`lease_record.ts`) that its holder writes again and again, each time only over
 * its own last version. No decision looks at a wall clock: each side measures with its own monotonic one.
 *
 * Let T be the time to live in the record, and V = 3/4 T.
 *   H  A holder may write until V after it *sent* the last renewal that succeeded. At that moment requests
 *      under way are aborted; what is left of T is for those that the storage has whole already.
 *   N  A newcomer writes only
 *      a. where there is no lease, or one that its holder released, or one of its own installation, whose
 *         daemon is gone (the state directory is locked), or
 *      b. when it saw the same version for T, or
 *      c. T after its own version was acknowledged, when it was told to take over.
 *   In each case its version must have been stored over exactly the version that it had read.
 *
 * Why two never write at once (P1). Let A hold the lease and B have written B1 over A's version A1. A's renewals
 * after B1 fail, since they want to be over A1 or a later one of A's: A's last renewal that succeeded was
 * A1, sent before B read it. (b): B read A1 first T before it wrote, so A stopped V < T after that. (c): B1
 * was acknowledged after A1 was sent, and B waits T more. (a): A writes no more. A crash of B within (c) is
 * no way around: B's record says for how long its holder waits, and whoever takes it waits as long.
 *
 * Storage that cannot look and store in one step (`LeaseStore.isCertain`): B1 may replace a version
 * of A's that B has not seen, and A's renewal may replace B1. Then (a) and (b) wait as (c) does, but for a
 * lease of one's own, and the wait ends with a look: whoever does not find its own version there gives up.
 * A renewal that A began before B1 was sent is over, or too late to count for A, when B looks. Where the
 * lease is not required, (a) does not wait there: two daemons that start in the same moment may both
 * write until the next renewal of one shows the other.
 *
 * Interleavings (tests/cluster/lease_test.ts forces them)
 *   1. The answer to a renewal is lost: the version there is of the same session, and is adopted, but
 *      counts only from the next renewal on.
 *   2. A is cut off from the storage: it stops at V; when it comes back and nobody came, it goes on; when
 *      somebody came, and be it one that has left again, it is fenced for good.
 *   3. Two newcomers see an expired lease: one's write is over the other's, and fails; it looks again.
 *   4. A newcomer sees a version that changes: the holder lives, and the newcomer refuses.
 *   5. The machine sleeps: the holder's clock goes by the wall clock where that went further.
 *   6. The object is removed by hand: the holder writes it again. (Nobody may do so to make room for
 *      another daemon: that is what taking over is for.)
 *
 * A daemon that is fenced never writes again: what it has may be older than what its successor wrote. Only
 * a restart ends that, which an operator decides about.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { EnvironmentError } from "../errors.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import { StorageError } from "../storage/backend.ts";
import type { LeaseRecord } from "./lease_record.ts";
import type { FoundLease, LeaseStore } from "./lease_store.ts";
import { describeHolder, type WriteRight } from "./write_right.ts";

/** Share of the time to live for which a renewal counts. */
const VALID_SHARE = 3 / 4;

/** Shares of it between renewals, and between tries and looks. */
const RENEW_SHARE = 1 / 3, RETRY_SHARE = 1 / 20;

/** Share of it for which a start waits to see whether another holder lives. */
const START_SHARE = 1 / 2;

/** A failure that lasts is told this often, ms. */
const REPEAT_MS = 60_000;

/** Tries to release the lease at the end. */
const RELEASE_TRIES = 3;

/** What it works with. */
export interface LeaseParts {
  readonly store: LeaseStore;
  readonly right: WriteRight;
  /** This installation, and the run of its daemon. */
  readonly holder: string;
  readonly session: string;
  readonly host: string;
  readonly pid: number;
  readonly ttlSeconds: number;
  /** Whether storage that refuses to keep the lease ends the start. */
  readonly isRequired: boolean;
  readonly log: Logger;
}

/** See the module. */
export class Lease {
  readonly #parts: LeaseParts;
  readonly #ended = new AbortController();
  readonly #limited = createRepeatLimiter(REPEAT_MS);
  readonly #begun = Promise.withResolvers<void>();
  #isBegun = false;
  #running: Promise<void> | null = null;
  /** Our version in the bucket; null before there is one. */
  #mine: LeaseRecord | null = null;
  /** Its tag; null when it was removed by hand. */
  #etag: string | null = null;
  /** Raised with each try: S3 gives equal bytes an equal tag, and no version may look like an older one. */
  #version = 0;
  /** When we may write at the earliest, ms; and for how long that is from the beginning, s. */
  #notBeforeMs = 0;
  #waitSeconds = 0;
  /** Whether we ever tried to take it where it was not this installation's. */
  #isNotOwn = false;
  /** Whether the last renewal failed. */
  #isLate = false;
  /** Renewals so far. */
  readonly renewals = { success: 0, failure: 0 };

  constructor(parts: LeaseParts) {
    this.#parts = parts;
    this.#begun.promise.catch(() => {}); // also where nobody waits for the start
  }

  /** Ours; 0 before there is one. */
  get epoch(): number {
    return this.#mine?.epoch ?? 0;
  }

  /**
   * Takes the lease, and keeps it from then on.
   * @param takeOver From whoever holds it.
   * @returns When it is had, or cannot be had yet and the daemon may start without: it writes later.
   * @throws EnvironmentError when another daemon holds it, or the storage refuses to keep it.
   */
  start(takeOver: boolean): Promise<void> {
    this.#running = this.#run(takeOver);
    return this.#begun.promise;
  }

  /** Gives the lease back, once nothing is written any more. Never throws. */
  async release(): Promise<void> {
    const { store, log, right, session, ttlSeconds } = this.#parts;
    this.#ended.abort();
    await this.#running;
    right.release();
    if (right.state !== "released" || this.#mine === null) return;
    const waits = right.clock.nowMs() < this.#notBeforeMs ? this.#waitSeconds : 0;
    const record = { ...this.#mine, version: ++this.#version, waits, released: true };
    const signal = new AbortController().signal;
    try {
      for (let tries = 1; tries <= RELEASE_TRIES; tries++) {
        try {
          await store.write(record, this.#etag, signal);
          return;
        } catch (error) {
          if (!isConflict(error)) throw error;
        }
        // A renewal that was cut off just now may have been stored.
        const found = await store.read(signal);
        if (found?.record.session !== session) return;
        this.#etag = found.etag;
      }
    } catch (error) {
      log.warning(
        `Cannot give the lease of ${store.label} back: ${
          describeError(error)
        }; another daemon can ` +
          `have it after ${ttlSeconds} s`,
      );
    }
  }

  async #run(takeOver: boolean): Promise<void> {
    const { log, right } = this.#parts;
    try {
      await this.#take(takeOver);
      while (this.#goesOn()) {
        await right.clock.pause(this.#nextRenewalMs(), this.#ended.signal);
        if (this.#goesOn()) await this.#renew();
      }
    } catch (error) {
      // Only a mistake of ours gets here. Nothing is written once the last renewal no longer counts.
      log.error(`The lease is not renewed any more: ${describeError(error)}`);
    }
    this.#begin();
  }

  #goesOn(): boolean {
    const { state } = this.#parts.right;
    return !this.#ended.signal.aborted && state !== "fenced" && state !== "none";
  }

  /** The daemon may start. */
  #begin(): void {
    this.#isBegun = true;
    this.#begun.resolve();
  }

  #ms(share: number): number {
    return this.#parts.ttlSeconds * 1000 * share;
  }

  /** Until the lease is ours, or it is clear that it will not be. */
  async #take(takeOver: boolean): Promise<void> {
    const { store, holder, right } = this.#parts;
    const { clock } = right;
    const startedMs = clock.nowMs();
    let seen: { readonly etag: string; readonly sinceMs: number } | null = null;
    while (this.#goesOn() && this.#mine === null) {
      const found = await this.#answer((signal) => store.read(signal));
      if (found === undefined) continue;
      if (found !== null && !isFree(found.record, holder) && !takeOver) {
        const { record, etag } = found;
        if (seen !== null && seen.etag !== etag) return this.#refuse(record);
        seen ??= { etag, sinceMs: clock.nowMs() };
        if (clock.nowMs() - seen.sinceMs < Math.max(record.ttl, record.waits) * 1000) {
          const who = describeHolder(record);
          right.wait(`${who} has the lease of ${store.label}, and it did not expire yet`, record);
          if (clock.nowMs() - startedMs >= record.ttl * 1000 * START_SHARE) this.#begin();
          await clock.pause(this.#ms(RETRY_SHARE), this.#ended.signal);
          continue;
        }
      }
      await this.#takeFrom(found, takeOver);
    }
  }

  /** Writes our first version over what was found; nothing happens when something else is there by then. */
  async #takeFrom(found: FoundLease | null, takeOver: boolean): Promise<void> {
    const { store, holder, log, right, ttlSeconds, isRequired } = this.#parts;
    const { clock } = right;
    const from = found?.record ?? null;
    const isOwn = from?.holder === holder;
    const isTaken = takeOver && from !== null && !isFree(from, holder);
    // Kept over tries: one that failed may have been stored, and is found as our own then.
    const waitFor = (seconds: number) => this.#waitSeconds = Math.max(this.#waitSeconds, seconds);
    this.#isNotOwn ||= !isOwn;
    const waitIfBlind = () => {
      if (store.isCertain(found) || !this.#isNotOwn) return;
      // Every first start would wait, for two that begin in the same moment.
      if (!isRequired && (from === null || isFree(from, holder))) return;
      waitFor(from?.ttl ?? ttlSeconds);
    };
    waitFor(from?.waits ?? 0);
    if (isTaken) waitFor(from.ttl);
    waitIfBlind();
    const sentMs = clock.holderMs();
    const stored = await this.#answer((signal) => this.#storeFirst(found, signal));
    if (stored === undefined || stored === null) return;
    this.#mine = stored.record;
    this.#etag = stored.etag;
    waitIfBlind(); // storing it may have shown that
    this.#notBeforeMs = clock.nowMs() + this.#waitSeconds * 1000;
    if (this.#waitSeconds === 0) this.#hold(sentMs);
    else {
      const who = from === null || isOwn ? "" : ` from ${describeHolder(from)}`;
      log.warning(
        `Took the lease of ${store.label}${who}; nothing is written for ${this.#waitSeconds} s, until ` +
          `no other daemon can write any more`,
      );
      right.wait(`a daemon before this one may write for ${this.#waitSeconds} s yet`, null);
    }
    this.#begin();
  }

  /** Null when something else is there by now. @throws StorageError */
  async #storeFirst(found: FoundLease | null, signal: AbortSignal): Promise<FoundLease | null> {
    const { store, holder, session, host, pid, ttlSeconds } = this.#parts;
    const next = (): LeaseRecord => ({
      holder,
      session,
      host,
      pid,
      epoch: (found?.record.epoch ?? 0) + 1,
      version: ++this.#version,
      started: new Date().toISOString(),
      ttl: ttlSeconds,
      waits: this.#waitSeconds,
      released: false,
    });
    try {
      const before = found?.etag ?? await store.write(next(), null, signal);
      const record = next();
      const etag = await store.write(record, before, signal);
      return { record, etag: await store.tryConditions(record, before, etag, signal) };
    } catch (error) {
      if (isConflict(error)) return null;
      throw error;
    }
  }

  #nextRenewalMs(): number {
    const { right } = this.#parts;
    if (this.#isLate || right.state === "suspended") return this.#ms(RETRY_SHARE);
    const renewMs = this.#ms(RENEW_SHARE), leftMs = this.#notBeforeMs - right.clock.nowMs();
    return leftMs > 0 ? Math.min(renewMs, leftMs) : renewMs;
  }

  async #renew(): Promise<void> {
    const { store, right: { clock } } = this.#parts;
    const sentMs = clock.holderMs();
    const mayWrite = clock.nowMs() >= this.#notBeforeMs;
    const waits = mayWrite ? 0 : this.#waitSeconds;
    const mine = { ...this.#mine!, version: ++this.#version, waits };
    this.#isLate = true;
    try {
      this.#etag = await store.write(mine, this.#etag, this.#ended.signal);
    } catch (error) {
      return isConflict(error) ? await this.#lookAgain() : this.#failed(error);
    }
    this.#mine = mine;
    this.#isLate = false;
    this.renewals.success++;
    if (mayWrite) this.#hold(sentMs);
  }

  /** Another version is there than ours was. */
  async #lookAgain(): Promise<void> {
    const { store, session, right } = this.#parts;
    try {
      const found = await store.read(this.#ended.signal);
      if (found === null) this.#etag = null;
      else if (found.record.session === session) this.#etag = found.etag;
      else right.fence(found.record);
    } catch (error) {
      this.#failed(error);
    }
  }

  #failed(error: unknown): void {
    if (this.#ended.signal.aborted) return;
    const { log, store } = this.#parts;
    this.renewals.failure++;
    const line = this.#limited(`Cannot renew the lease of ${store.label}, will be tried again`);
    if (line !== null) log.warning(`${line}: ${describeError(error)}`);
  }

  #hold(sentMs: number): void {
    this.#parts.right.hold(sentMs + this.#ms(VALID_SHARE), this.epoch);
  }

  /** Asks the storage while the lease is being taken; undefined when there was no answer, after a wait. */
  async #answer<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T | undefined> {
    const { isRequired, log, store, right } = this.#parts;
    try {
      return await ask(this.#ended.signal);
    } catch (error) {
      if (this.#ended.signal.aborted) return undefined;
      const why = describeError(error);
      const isPassing = error instanceof StorageError &&
        (error.kind === "transient" || error.kind === "throttled");
      const allow =
        "allow this daemon to read and write the objects below .p4cache/ there, or set " +
        "lease to off";
      if (!isPassing && !isRequired) {
        log.warning(
          `Works without a lease, and would not notice another daemon that writes to ${store.label} ` +
            `too: ${why}; ${allow}`,
        );
        right.dispense();
      } else if (!isPassing && !this.#isBegun) {
        this.#end(`Cannot take the lease of ${store.label}: ${why}; ${allow}`);
      } else {
        right.wait(`the lease of ${store.label} cannot be taken: ${why}`, null);
        this.#begin();
        await right.clock.pause(this.#ms(RETRY_SHARE), this.#ended.signal);
      }
      return undefined;
    }
  }

  /** Another holder lives. */
  #refuse(by: LeaseRecord): void {
    const { right, store } = this.#parts;
    if (this.#isBegun) return right.fence(by);
    this.#end(
      `Cannot start: ${
        describeHolder(by)
      } writes to ${store.label}, and renewed its lease just now; ` +
        `stop that daemon, give this depot another path_prefix, run it with read_only, or fence the ` +
        `other one with --take-over`,
    );
  }

  #end(why: string): void {
    this.#begun.reject(new EnvironmentError(why));
    this.#ended.abort();
  }
}

/** Whether nobody but this installation can be writing under it. */
function isFree(record: LeaseRecord, holder: string): boolean {
  return record.released || record.holder === holder;
}

function isConflict(error: unknown): boolean {
  return error instanceof StorageError && error.kind === "conflict";
}
