/**
 * The same as `planted_bugs.ts` for what several hosts agree about: found by the simulation of clusters
 * (`hosts.ts`).
 *
 * @module
 */

import { bug, type PlantedBug } from "./planted_bugs.ts";

const FOLLOWER = "src/cluster/feed_follower.ts";
const FRESHNESS = "src/cluster/freshness.ts";
const LEASE = "src/cluster/lease.ts";
const LEASED = "src/cluster/leased_backend.ts";
const PUBLISHER = "src/cluster/feed_publisher.ts";
const RIGHT = "src/cluster/write_right.ts";
const STORE = "src/cluster/lease_store.ts";

/** First the lease, then the change feed. */
export const PLANTED_HOST_BUGS: readonly PlantedBug[] = [
  bug("a lease counts though its time is over", [
    RIGHT,
    'return this.#state === "held" && this.#parts.clock.holderMs() < this.#untilMs;',
    'return this.#state === "held";',
  ]),
  bug("writes pass without the lease", [
    LEASED,
    "if (!this.#right.isHeld) throw this.#refused();",
    "",
  ]),
  bug("a newcomer does not wait until the lease expires", [
    LEASE,
    "if (clock.nowMs() - seen.sinceMs < Math.max(record.ttl, record.waits) * 1000) {",
    "if (clock.nowMs() - seen.sinceMs < 5000) {",
  ]),
  bug("who takes over does not wait", [LEASE, "if (isTaken) waitFor(from.ttl);", ""]),
  bug("who takes over from one that waits does not wait for it", [
    LEASE,
    "waitFor(from?.waits ?? 0);",
    "",
  ]),
  bug("the lease is written over any version", [
    STORE,
    "over === null ? { ifAbsent: true } : { ifMatch: over },",
    "",
  ], [
    STORE,
    'if (this.#certain !== "all") return etag;',
    "return etag;",
  ]),
  bug("a fenced daemon goes on", [
    LEASE,
    "else right.fence(found.record);",
    "else this.#etag = found.etag;",
  ]),
  bug("another epoch of the feed is taken for the same", [
    FOLLOWER,
    "if (at === null || at.epoch !== epoch || last < at.last) {",
    "if (at !== null && at.epoch !== epoch) this.#at = { epoch, last: 0 };\n    if (at === null) {",
  ]),
  bug("a gap in the feed is ignored", [
    FOLLOWER,
    'if (first > at.last + 1) return this.#gap(last, "older records were removed");',
    "if (first > at.last + 1) at.last = first - 1;",
  ]),
  bug("a gap leaves what was fresh", [
    FRESHNESS,
    "    if (++this.#generation > MAX_GENERATION) {",
    "    if (this.#generation > MAX_GENERATION) {",
  ]),
  bug("the feed counts as followed while nothing is heard of its writer", [
    FOLLOWER,
    "    this.#seenMs = begunMs;\n",
    "    this.#seenMs = begunMs;\n    this.#parts.listener.followed(begunMs);\n",
  ]),
  bug("a copy counts as fresh though a change was told while it was read", [
    FRESHNESS,
    "if (look.isOutdated) return;",
    "",
  ]),
  bug("a change does not outdate a copy", [
    FRESHNESS,
    "if (this.#view.getBigUint64(at, true) === tag) this.#setTag(at, 0n);",
    "",
  ]),
  bug("a round of the feed that fails forgets what it should have told", [
    PUBLISHER,
    "if (!this.#pending.has(path)) this.#pending.set(path, etag);",
    "",
  ], [
    PUBLISHER,
    "      // Another writer's is there, or nobody knows what is there now.\n      this.#mustBegin = true;",
    "",
  ]),
  bug("the feed goes on in the epoch of before a restart", [
    PUBLISHER,
    "await this.#writeHead({ epoch: newEpoch(), first: 1, last: 0, beat: 0, outdated });",
    "await this.#writeHead(before ?? { epoch: newEpoch(), first: 1, last: 0, beat: 0, outdated });",
  ]),
];
