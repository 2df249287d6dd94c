/**
 * Reads and writes the lease object. A write takes place only over what was read, where the storage can
 * look and store in one step; where it cannot, it says so, and `lease.ts` makes up for that with time.
 *
 * @module
 */

import { type Backend, type Content, type PutCondition, StorageError } from "../storage/backend.ts";
import {
  LEASE_PATH,
  leaseContent,
  type LeaseRecord,
  MAX_LEASE_BYTES,
  parseLease,
} from "./lease_record.ts";

/** The lease as it was found. */
export interface FoundLease {
  readonly record: LeaseRecord;
  readonly etag: string;
}

/** Which writes certainly take place only over what was read. */
export type Certain =
  | "all"
  /** Those where nothing was; a version may be written over another one than was read. */
  | "first"
  | "none";

/** See the module. */
export class LeaseStore {
  readonly #backend: Backend;
  readonly #ttlSeconds: number;
  readonly #timeoutMs: number;
  #certain: Certain;
  /** Whether conditions are sent at all. */
  #isConditional = true;

  /**
   * @param backend Without limits and retries: a renewal must not wait behind uploads.
   * @param certain What the storage is said to do in one step.
   * @param ttlSeconds Of a record that makes no sense.
   * @param timeoutMs Of each request.
   */
  constructor(
    backend: Backend,
    certain: Certain,
    ttlSeconds: number,
    timeoutMs: number,
  ) {
    this.#backend = backend;
    this.#certain = certain;
    this.#ttlSeconds = ttlSeconds;
    this.#timeoutMs = timeoutMs;
  }

  get label(): string {
    return this.#backend.label;
  }

  /** Whether a write certainly takes place only over what was read (null: nothing). */
  isCertain(read: FoundLease | null): boolean {
    return this.#certain === "all" || this.#certain === "first" && read === null;
  }

  /** Null when there is none. @throws StorageError */
  async read(signal: AbortSignal): Promise<FoundLease | null> {
    try {
      const { info, bytes } = await this.#backend.getRange(LEASE_PATH, 0, MAX_LEASE_BYTES, {
        signal: this.#limited(signal),
      });
      return { record: parseLease(bytes, this.#ttlSeconds), etag: info.etag };
    } catch (error) {
      if (error instanceof StorageError && error.kind === "absent") return null;
      throw error;
    }
  }

  /**
   * Writes the record over what was found (null: where nothing is); returns its tag.
   * @throws StorageError conflict when something else is there.
   */
  async write(record: LeaseRecord, over: string | null, signal: AbortSignal): Promise<string> {
    const content = leaseContent(record, Date.now());
    if (this.#certain !== "all") await this.#look(over, signal);
    if (!this.#isConditional) return await this.#put(content, signal);
    try {
      return await this.#put(
        content,
        signal,
        over === null ? { ifAbsent: true } : { ifMatch: over },
      );
    } catch (error) {
      // Conditions are refused as such; the same write without one is not.
      if (!(error instanceof StorageError) || error.kind !== "permanent") throw error;
      this.#paysNoHeed();
      await this.#look(over, signal);
      return await this.#put(content, signal);
    }
  }

  /** @throws StorageError conflict when something else is there. */
  async #look(over: string | null, signal: AbortSignal): Promise<void> {
    const there = await this.read(signal);
    if ((there?.etag ?? null) === over) return;
    throw new StorageError("conflict", `Cannot store the lease in ${this.label}: it changed`);
  }

  /**
   * Finds out whether the server keeps to conditions, with two that do not hold: some take the request
   * and pay no heed to them. The lease is ours.
   * @param outdated A tag that our lease had before.
   * @returns The lease's tag now.
   */
  async tryConditions(
    record: LeaseRecord,
    outdated: string,
    etag: string,
    signal: AbortSignal,
  ): Promise<string> {
    if (this.#certain !== "all") return etag;
    const content = leaseContent(record, Date.now());
    for (const condition of [{ ifAbsent: true } as const, { ifMatch: outdated }]) {
      try {
        const taken = await this.#put(content, signal, condition);
        this.#paysNoHeed();
        return taken;
      } catch (error) {
        if (!(error instanceof StorageError) || error.kind !== "conflict") throw error;
      }
    }
    return etag;
  }

  #paysNoHeed(): void {
    this.#isConditional = false;
    this.#certain = "none";
  }

  async #put(
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<string> {
    return (await this.#backend.put(LEASE_PATH, content, this.#limited(signal), condition)).etag;
  }

  #limited(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, AbortSignal.timeout(this.#timeoutMs)]);
  }
}
