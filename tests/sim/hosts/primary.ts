/**
 * A read-write daemon of the simulated cluster: the real lease, the real gate before the storage, and the
 * real writer of the change feed; in place of the engine a writer that stores versions of archives as the
 * uploader does: again until it knows that one is stored.
 *
 * @module
 */

import { FeedPublisher } from "../../../src/cluster/feed_publisher.ts";
import { Lease } from "../../../src/cluster/lease.ts";
import { LeasedBackend } from "../../../src/cluster/leased_backend.ts";
import { LeaseStore } from "../../../src/cluster/lease_store.ts";
import { WriteRight } from "../../../src/cluster/write_right.ts";
import type { DepotPath } from "../../../src/depot_path.ts";
import { Health } from "../../../src/observe/health.ts";
import { getLog } from "../../../src/observe/logging.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import { bytesContent } from "../../../src/storage/bytes_content.ts";
import type { Random } from "../random.ts";
import type { Host } from "./host.ts";
import { HostBackend, type SharedBucket } from "./shared_bucket.ts";

/** Of the lease, s. */
export const TTL_SECONDS = 60;

/** Of the change feed, ms: between rounds, between heads, and how long records stay. */
const BATCH_MS = 1000, BEAT_MS = 10_000, RETENTION_MS = 40_000;

/** Longest wait between two writes, ms. */
const THINK_MS = 6000;

/** Of a request of the lease; nothing here takes as long in real time, ms. */
const LEASE_TIMEOUT_MS = 600_000;

/** What it works on. */
export interface PrimaryParts {
  readonly host: Host;
  readonly bucket: SharedBucket;
  readonly random: Random;
  readonly paths: readonly DepotPath[];
  /** Its installation, and this run. */
  readonly holder: string;
  readonly session: string;
  readonly takeOver: boolean;
  /** It knows that the version is stored. */
  readonly onAcknowledged: (path: DepotPath, etag: string) => void;
}

/** See the module. */
export class Primary {
  readonly host: Host;
  readonly right: WriteRight;
  readonly lease: Lease;
  readonly #parts: PrimaryParts;
  readonly #backend: LeasedBackend;
  readonly #publisher: FeedPublisher;
  readonly #never = new AbortController().signal;
  #isStopping = false;
  #serial = 0;

  constructor(parts: PrimaryParts) {
    const { host, bucket, holder, session } = parts;
    const log = getLog("lease");
    this.#parts = parts;
    this.host = host;
    const line = new HostBackend(bucket, host) as unknown as Backend;
    this.right = new WriteRight({ clock: host.clock, health: new Health(log), log });
    this.#backend = new LeasedBackend(line, this.right);
    this.right.onLost(() => this.#backend.cutOff());
    this.right.require(bucket.constructor.name);
    this.lease = new Lease({
      store: new LeaseStore(line, "all", TTL_SECONDS, LEASE_TIMEOUT_MS),
      right: this.right,
      ...{ holder, session, host: host.name, pid: 1, ttlSeconds: TTL_SECONDS, isRequired: true },
      log,
    });
    this.#publisher = new FeedPublisher({
      backend: this.#backend,
      log,
      nowMs: host.clock.nowMs,
      wallMs: host.clock.nowMs,
      newEpoch: () => `${session}-${++this.#serial}`,
      batchMs: BATCH_MS,
      beatMs: BEAT_MS,
      retentionMs: RETENTION_MS,
    });
  }

  /** Whether it may write at this moment, as far as it knows. */
  get mayWrite(): boolean {
    return this.host.isAwake && !this.#isStopping && this.right.isHeld;
  }

  /** Whether it will never write again. */
  get isOver(): boolean {
    return !this.host.isAlive || this.#isStopping || this.right.state === "fenced";
  }

  start(): void {
    this.lease.start(this.#parts.takeOver).catch(() => this.#isStopping = true);
    void this.#write();
    void this.#publish();
  }

  /** Comes to its end in order. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#backend.cutOff();
    await this.lease.release();
    this.host.crash();
  }

  async #publish(): Promise<void> {
    while (!this.isOver) {
      await this.host.pause(BATCH_MS);
      if (this.right.isHeld) await this.#publisher.publish();
    }
  }

  async #write(): Promise<void> {
    const { random, paths, holder } = this.#parts;
    while (!this.isOver) {
      await this.host.pause(random.fraction() * THINK_MS);
      const path = random.pick(paths);
      const text = new TextEncoder().encode(`${path} ${holder} ${++this.#serial}`);
      await this.#store(path, text);
    }
  }

  async #store(path: DepotPath, bytes: Uint8Array): Promise<void> {
    const { host, random, onAcknowledged } = this.#parts;
    while (!this.isOver) {
      // Now and then it has looked just before the right was lost.
      if (this.right.isHeld || random.oneIn(4)) {
        try {
          const content = bytesContent(bytes, host.clock.nowMs());
          const { etag } = await this.#backend.put(path, content, this.#never);
          this.#publisher.note(path, etag);
          onAcknowledged(path, etag);
          return;
        } catch {
          this.#publisher.note(path, "");
        }
      }
      await host.pause(1000);
    }
  }
}
