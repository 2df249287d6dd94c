/**
 * A replica of the simulated cluster: the real follower of the change feed and the real table of what is
 * fresh; in place of the revalidator the same steps over copies in memory.
 *
 * @module
 */

import { FeedFollower } from "../../../src/cluster/feed_follower.ts";
import { Freshness } from "../../../src/cluster/freshness.ts";
import type { DepotPath } from "../../../src/depot_path.ts";
import { getLog } from "../../../src/observe/logging.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import type { Random } from "../random.ts";
import type { Host } from "./host.ts";
import { HostBackend, type SharedBucket, type StoredVersion } from "./shared_bucket.ts";

/** How long a look at the storage is good for, and between looks at the feed, ms. */
export const PERIOD_MS = 30_000, POLL_MS = 3000;

/** Longest wait between two opens, ms. */
const THINK_MS = 10_000;

/** What it works on. */
export interface ReplicaParts {
  readonly host: Host;
  readonly bucket: SharedBucket;
  readonly random: Random;
  readonly paths: readonly DepotPath[];
  /** A copy is used without a look at the storage. */
  readonly onServed: (replica: string, path: DepotPath, copy: StoredVersion) => void;
}

/** See the module. */
export class Replica {
  readonly #parts: ReplicaParts;
  readonly #backend: HostBackend;
  readonly #freshness: Freshness;
  readonly #follower: FeedFollower;
  readonly #copies = new Map<DepotPath, StoredVersion>();
  readonly #never = new AbortController().signal;

  constructor(parts: ReplicaParts) {
    const { host, bucket } = parts;
    this.#parts = parts;
    this.#backend = new HostBackend(bucket, host);
    const nowMs = host.clock.holderMs;
    this.#freshness = new Freshness({ write: () => {} }, nowMs, PERIOD_MS);
    this.#follower = new FeedFollower({
      backend: this.#backend as unknown as Backend,
      listener: {
        changed: ({ path }) => this.#freshness.forget(path),
        gap: () => this.#freshness.gap(),
        followed: (atMs) => this.#freshness.followed(atMs),
      },
      log: getLog("feed"),
      nowMs,
      pollMs: POLL_MS,
    });
  }

  start(): void {
    void this.#follow();
    void this.#serve();
  }

  async #follow(): Promise<void> {
    for (;;) {
      await this.#follower.poll();
      await this.#parts.host.pause(POLL_MS);
    }
  }

  async #serve(): Promise<void> {
    const { host, random, paths } = this.#parts;
    for (;;) {
      await host.pause(random.fraction() * THINK_MS);
      await this.open(random.pick(paths));
    }
  }

  /** What p4d gets for the path. */
  async open(path: DepotPath): Promise<void> {
    const copy = this.#copies.get(path);
    if (copy !== undefined && this.#freshness.isFresh(path)) {
      return this.#parts.onServed(this.#parts.host.name, path, copy);
    }
    const look = this.#freshness.look(path);
    try {
      this.#copies.set(path, await this.#backend.read(path, this.#never));
      look.confirm();
    } catch {
      look.drop();
    }
  }
}
