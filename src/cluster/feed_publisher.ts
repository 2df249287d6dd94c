/**
 * Writes the change feed of a primary: which archives were stored anew or removed, in batches.
 *
 * What is noted is in a record, and the record named by the head, before the head counts; a failure leaves
 * all of it to the next round. Where nothing can be said for sure (a start, too much at once, another
 * writer) a new epoch begins, and followers take everything for changed.
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { isRewritten } from "../cache/archive_names.ts";
import type { DepotPath } from "../depot_path.ts";
import { createRepeatLimiter, describeError } from "../observe/logging.ts";
import { type Backend, StorageError } from "../storage/backend.ts";
import { bytesContent } from "../storage/bytes_content.ts";
import {
  type Change,
  decodeHead,
  encodeChanges,
  encodeHead,
  FEED_HEAD,
  type FeedHead,
  type FeedRange,
  MAX_FEED_BYTES,
  MAX_RECORD_CHANGES,
  recordPath,
} from "./feed_format.ts";

/** Changes that wait at most; with more a new epoch says it shorter (P5). */
const MAX_PENDING = 20_000;

/** Records removed in one round. */
const REMOVED_AT_ONCE = 32;

/** Records after the last named one that a round which was cut off may have left. */
const UNNAMED = 8;

/** Failures of one kind are told this often, ms. */
const REPEAT_MS = 60_000;

/** What the publisher works with; all times in ms. */
export interface PublisherParts {
  readonly backend: Pick<Backend, "put" | "getRange" | "delete">;
  readonly log: Logger;
  /** Rises; from any beginning. */
  readonly nowMs: () => number;
  /** Since 1970, for the objects' own times. */
  readonly wallMs: () => number;
  /** A name no other epoch has: digits, small letters, dashes. */
  readonly newEpoch: () => string;
  /** Between two rounds. */
  readonly batchMs: number;
  /** Between two heads when nothing changes. */
  readonly beatMs: number;
  /** How long records are kept. */
  readonly retentionMs: number;
}

/** See the module's description. */
export class FeedPublisher {
  readonly #parts: PublisherParts;
  readonly #pending = new Map<DepotPath, string>();
  readonly #kept: { readonly sequence: number; readonly atMs: number }[] = [];
  readonly #limited: (message: string) => string | null;
  readonly #abort = new AbortController();
  /** As it was written last; null before the first one of this epoch. */
  #head: FeedHead | null = null;
  #headEtag = "";
  #mustBegin = true;
  #writtenMs = -Infinity;
  #timer: number | null = null;
  #round: Promise<void> | null = null;

  constructor(parts: PublisherParts) {
    this.#parts = parts;
    this.#limited = createRepeatLimiter(REPEAT_MS, parts.nowMs);
  }

  /** Changes that are not told yet. */
  get pending(): number {
    return this.#pending.size;
  }

  /**
   * An object was stored or removed, or may have been.
   * @param etag The version that is there now; empty when it was removed, or that is not known.
   */
  note(path: DepotPath, etag: string): void {
    if (!isRewritten(path)) return;
    this.#pending.set(path, etag);
    if (this.#pending.size <= MAX_PENDING) return;
    this.#pending.clear();
    this.#mustBegin = true;
  }

  start(): void {
    this.#timer = setInterval(() => void this.publish(), this.#parts.batchMs);
  }

  /** Tells what is left, and ends. */
  async stop(): Promise<void> {
    if (this.#timer === null) return;
    clearInterval(this.#timer);
    await this.#round;
    if (this.#pending.size > 0) await this.publish();
    this.#abort.abort();
  }

  /** One round: what waits is told, the head renewed when it is time, old records removed. Never throws. */
  publish(): Promise<void> {
    this.#round ??= this.#publish()
      .catch((error) => {
        const line = this.#limited("Cannot write the change feed, will be tried again");
        if (line !== null) this.#parts.log.warning(`${line}: ${describeError(error)}`);
      })
      .finally(() => this.#round = null);
    return this.#round;
  }

  async #publish(): Promise<void> {
    const { nowMs, beatMs } = this.#parts;
    if (this.#mustBegin) await this.#begin();
    const head = this.#head!;
    const isDue = nowMs() - this.#writtenMs >= beatMs;
    if (this.#pending.size === 0 && !isDue) return;
    const told = new Map(this.#pending);
    this.#pending.clear();
    try {
      const last = await this.#writeRecords(head, [...told]);
      const first = this.#firstToKeep(last);
      await this.#writeHead({ ...head, first, last, beat: head.beat + 1 });
      await this.#prune(first);
    } catch (error) {
      // What was noted since is newer.
      for (const [path, etag] of told) {
        if (!this.#pending.has(path)) this.#pending.set(path, etag);
      }
      throw error;
    }
  }

  /** A new epoch; what earlier ones left is to be removed. */
  async #begin(): Promise<void> {
    const { backend, newEpoch } = this.#parts;
    // Cleared first: what overflows from here on wants another one.
    this.#mustBegin = false;
    try {
      let before: FeedHead | null = null;
      this.#headEtag = "";
      try {
        const { signal } = this.#abort;
        const { info, bytes } = await backend.getRange(FEED_HEAD, 0, MAX_FEED_BYTES, { signal });
        this.#headEtag = info.etag;
        before = readable(bytes);
      } catch (error) {
        if (!(error instanceof StorageError) || error.kind !== "absent") throw error;
      }
      this.#kept.length = 0;
      const outdated = before === null ? [] : [...before.outdated, {
        epoch: before.epoch,
        first: before.first,
        last: before.last + UNNAMED,
      }];
      await this.#writeHead({ epoch: newEpoch(), first: 1, last: 0, beat: 0, outdated });
    } catch (error) {
      this.#mustBegin = true;
      throw error;
    }
  }

  /** The number of the last one. */
  async #writeRecords(
    { epoch, last }: FeedHead,
    changes: readonly (readonly [DepotPath, string])[],
  ): Promise<number> {
    const { backend, wallMs, nowMs } = this.#parts;
    let sequence = last;
    for (let at = 0; at < changes.length; at += MAX_RECORD_CHANGES) {
      const batch: Change[] = changes.slice(at, at + MAX_RECORD_CHANGES)
        .map(([path, etag]) => ({ path, etag }));
      sequence++;
      // One that no head named yet may be there from a round that failed: it is replaced.
      const content = bytesContent(encodeChanges(batch), wallMs());
      await backend.put(recordPath(epoch, sequence), content, this.#abort.signal);
      this.#kept.push({ sequence, atMs: nowMs() });
    }
    return sequence;
  }

  /** @throws StorageError also when another writer's head is there; then a new epoch is begun. */
  async #writeHead(head: FeedHead): Promise<void> {
    const { backend, nowMs, wallMs } = this.#parts;
    const content = bytesContent(encodeHead(head), wallMs());
    const etag = this.#headEtag;
    try {
      const condition = etag === "" ? { ifAbsent: true as const } : { ifMatch: etag };
      const put = await backend.put(FEED_HEAD, content, this.#abort.signal, condition);
      this.#head = head;
      this.#headEtag = put.etag;
      this.#writtenMs = nowMs();
    } catch (error) {
      // Another writer's is there, or nobody knows what is there now.
      this.#mustBegin = true;
      throw error;
    }
  }

  #firstToKeep(last: number): number {
    const { nowMs, retentionMs } = this.#parts;
    const oldest = nowMs() - retentionMs;
    return this.#kept.find(({ atMs }) => atMs >= oldest)?.sequence ?? last + 1;
  }

  /** Removes records that the head no longer names. */
  async #prune(first: number): Promise<void> {
    const head = this.#head!;
    while (this.#kept.length > 0 && this.#kept[0]!.sequence < first) {
      const { sequence } = this.#kept[0]!;
      await this.#remove({ epoch: head.epoch, first: sequence, last: sequence });
      this.#kept.shift();
    }
    const [oldest, ...others] = head.outdated;
    if (oldest === undefined) return;
    const last = Math.min(oldest.last, oldest.first + REMOVED_AT_ONCE - 1);
    await this.#remove({ ...oldest, last });
    const rest = last === oldest.last ? [] : [{ ...oldest, first: last + 1 }];
    // The next head says so.
    this.#head = { ...head, outdated: [...rest, ...others] };
  }

  async #remove({ epoch, first, last }: FeedRange): Promise<void> {
    for (let sequence = first; sequence <= last; sequence++) {
      await this.#parts.backend.delete(recordPath(epoch, sequence), this.#abort.signal);
    }
  }
}

/** Null where it is no head that we understand. */
function readable(bytes: Uint8Array): FeedHead | null {
  try {
    return decodeHead(bytes);
  } catch {
    return null;
  }
}
