/**
 * The change feed: what is written is told in order, once, and whatever may be missing is a gap.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { FeedFollower } from "../../src/cluster/feed_follower.ts";
import { decodeChanges, encodeChanges, FEED_HEAD } from "../../src/cluster/feed_format.ts";
import { FeedPublisher } from "../../src/cluster/feed_publisher.ts";
import { getLog } from "../../src/observe/logging.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { textPath } from "../storage/contents.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";

const BEAT_MS = 10_000, RETENTION_MS = 60_000;

/** A bucket, its writers and a follower, on one clock. */
class Site {
  readonly bucket = new MemoryBackend();
  readonly told: string[] = [];
  nowMs = 1_000_000;
  #epochs = 0;
  readonly follower = new FeedFollower({
    backend: this.bucket,
    listener: {
      changed: ({ path, etag }) => this.told.push(`${path} ${etag}`),
      gap: () => this.told.push("gap"),
      followed: (atMs) => this.told.push(`followed ${atMs - 1_000_000}`),
    },
    log: getLog("feed"),
    nowMs: () => this.nowMs,
    pollMs: 1000,
  });

  writer(): FeedPublisher {
    return new FeedPublisher({
      backend: this.bucket,
      log: getLog("feed"),
      nowMs: () => this.nowMs,
      wallMs: () => this.nowMs,
      newEpoch: () => `epoch-${++this.#epochs}`,
      batchMs: 1000,
      beatMs: BEAT_MS,
      retentionMs: RETENTION_MS,
    });
  }

  /** What the follower tells at its next look. */
  async look(): Promise<string[]> {
    this.told.length = 0;
    await this.follower.poll();
    return [...this.told];
  }

  get records(): string[] {
    return [...this.bucket.objects.keys()].filter((key) => key !== FEED_HEAD).sort();
  }
}

Deno.test("changes survive the format, whatever bytes their names have", () => {
  const changes = ["a,v", "b%20 c,v", 'odd\xff\x01"\\,v'].map((path) => ({
    path: textPath(path),
    etag: '"1"',
  }));
  assertEquals(decodeChanges(encodeChanges(changes)), changes);
});

Deno.test("what is noted is told once, in order, and only for archives", async () => {
  const site = new Site(), writer = site.writer();
  await writer.publish();
  assertEquals(await site.look(), ["gap"]);
  writer.note(textPath("a,v"), "1");
  writer.note(textPath("a,d/1.1.gz"), "1");
  writer.note(textPath("b,v"), "2");
  site.nowMs += 1000;
  await writer.publish();
  site.nowMs += 1000;
  assertEquals(await site.look(), ["a,v 1", "b,v 2", "followed 0"]);
  assertEquals(await site.look(), []);
});

Deno.test("an unchanged head costs one request and no download", async () => {
  const site = new Site(), writer = site.writer();
  await writer.publish();
  await site.look();
  site.bucket.calls.length = 0;
  await site.look();
  assertEquals(site.bucket.calls, [{ operation: "getIfChanged", path: FEED_HEAD }]);
});

Deno.test("a quiet feed goes on being followed; that of a dead writer does not", async () => {
  const site = new Site(), writer = site.writer();
  await writer.publish();
  await site.look();
  for (let beat = 1; beat <= 2; beat++) {
    site.nowMs += BEAT_MS;
    await writer.publish();
    // Not up to this look: the head may have been written any time since the last one.
    assertEquals(await site.look(), [`followed ${(beat - 1) * BEAT_MS}`]);
  }
  site.nowMs += BEAT_MS;
  assertEquals(await site.look(), []);
});

Deno.test("another epoch is a gap: after a restart, and after a writer that took over", async () => {
  const site = new Site();
  const first = site.writer();
  await first.publish();
  await site.look();
  const second = site.writer();
  await second.publish();
  assertEquals(await site.look(), ["gap"]);
  // The first finds the other's head, and begins anew: nothing that either noted is missed.
  first.note(textPath("a,v"), "1");
  site.nowMs += 1000;
  await first.publish(); // refused
  await first.publish();
  assertEquals(await site.look(), ["gap"]);
  first.note(textPath("b,v"), "1");
  await first.publish();
  assertEquals((await site.look())[0], "b,v 1");
});

Deno.test("records older than the retention are removed, and missing them is a gap", async () => {
  const site = new Site(), writer = site.writer();
  await writer.publish();
  await site.look();
  for (let i = 0; i < 10; i++) {
    writer.note(textPath(`${i},v`), "1");
    site.nowMs += RETENTION_MS / 4;
    await writer.publish();
  }
  assert(site.records.length <= 5, site.records.join());
  assertEquals(await site.look(), ["gap"]);
  writer.note(textPath("z,v"), "1");
  await writer.publish();
  assertEquals((await site.look())[0], "z,v 1");
});

Deno.test("what an earlier epoch left is removed", async () => {
  const site = new Site();
  for (let epoch = 0; epoch < 3; epoch++) {
    const writer = site.writer();
    await writer.publish();
    for (let i = 0; i < 50; i++) {
      writer.note(textPath(`${i},v`), "1");
      await writer.publish();
    }
  }
  assertEquals(site.records.filter((key) => !key.includes("epoch-3")), []);
});

Deno.test("a failure loses no change, and tells none before all that came before it", async () => {
  for (const failing of ["record", "head"] as const) {
    const site = new Site(), writer = site.writer();
    await writer.publish();
    await site.look();
    writer.note(textPath("a,v"), "1");
    site.bucket.fault = (operation, path) => {
      const isHead = path === FEED_HEAD;
      if (operation === "put" && isHead === (failing === "head")) {
        throw new StorageError("transient", "down");
      }
    };
    site.nowMs += BEAT_MS;
    await writer.publish();
    assertEquals(await site.look(), []);
    site.bucket.fault = () => {};
    writer.note(textPath("b,v"), "2");
    await writer.publish();
    const told = await site.look();
    // Nobody knows whether a head that failed is there: then everything is taken for changed.
    if (failing === "record") assertEquals(told, ["a,v 1", "b,v 2", `followed ${BEAT_MS}`]);
    else assertEquals(told, ["gap"]);
  }
});

Deno.test("a follower that is cut off in the middle goes on where it was", async () => {
  const site = new Site(), writer = site.writer();
  await writer.publish();
  await site.look();
  for (const name of ["a,v", "b,v"]) {
    writer.note(textPath(name), "1");
    await writer.publish();
  }
  site.bucket.fault = (_, path) => {
    if (path.endsWith("2")) throw new StorageError("transient", "down");
  };
  assertEquals(await site.look(), ["a,v 1"]);
  assertEquals(site.follower.state, "failing");
  site.bucket.fault = () => {};
  assertEquals(await site.look(), ["b,v 1", "followed 0"]);
});

Deno.test("more changes at once than are kept begin a new epoch", async () => {
  const site = new Site(), writer = site.writer();
  await writer.publish();
  await site.look();
  for (let i = 0; i < 20_001; i++) writer.note(textPath(`${i},v`), "1");
  assertEquals(writer.pending, 0);
  await writer.publish();
  assertEquals(await site.look(), ["gap"]);
});

Deno.test("without a feed nothing is told; one that comes and goes is a gap", async () => {
  const site = new Site();
  assertEquals(await site.look(), []);
  assertEquals(site.follower.state, "absent");
  await site.writer().publish();
  assertEquals(await site.look(), ["gap"]);
  site.bucket.objects.delete(FEED_HEAD);
  assertEquals(await site.look(), []);
  await site.writer().publish();
  assertEquals(await site.look(), ["gap"]);
});
