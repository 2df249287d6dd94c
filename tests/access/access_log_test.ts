/**
 * The access log on disk: what is noted is there in time, in the contract's bytes.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { AccessLog, type AccessLogOptions } from "../../src/access/access_log.ts";

const HOUR_MS = 3_600_000;

class Fixture {
  readonly dir = Deno.makeTempDirSync({ prefix: "access-log-" });
  now = 1_000_000;
  batches = 0;
  dropped = 0;
  readonly errors: string[] = [];

  open(options: Partial<AccessLogOptions> = {}): AccessLog {
    return new AccessLog({
      dir: this.dir,
      mapBytes: 1 << 26,
      batchSize: 1000,
      flushMs: HOUR_MS,
      syncMs: HOUR_MS,
      retentionSeconds: 0,
      nowSeconds: () => this.now,
      metrics: {
        accessBatch: () => this.batches++,
        accessesDropped: (count) => this.dropped += count,
      },
      onError: (error) => this.errors.push(String(error)),
      ...options,
    });
  }

  /** The database as another program sees it: path → the value's bytes. */
  async stored(): Promise<Map<string, number[]>> {
    const kv = new Kv(this.dir, 0, { readOnly: true });
    const entries = await kv.scan(kv.database(""), new Uint8Array(0), true);
    kv.close();
    return new Map(entries.map(({ key, value }) => [String.fromCharCode(...key), [...value]]));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.dir, { recursive: true });
  }
}

Deno.test("an access is the path's bytes and the seconds, 8 bytes little endian", async () => {
  using fixture = new Fixture();
  const log = fixture.open();
  await log.note(["a/b,v", "odd \xff\xfe"]);
  fixture.now = 0x01020304;
  await log.note(["a/b,v"]);
  assertEquals(log.lastAccess("a/b,v"), 0x01020304);
  assertEquals(log.entries, 0, "not written yet");
  await log.close();
  assertEquals(
    await fixture.stored(),
    new Map([
      ["a/b,v", [4, 3, 2, 1, 0, 0, 0, 0]],
      ["odd \xff\xfe", [0x40, 0x42, 0x0f, 0, 0, 0, 0, 0]],
    ]),
  );
  assertEquals(fixture.batches, 1);
});

Deno.test("a batch is written when it is full, and the reader of accesses waits for the one before", async () => {
  using fixture = new Fixture();
  const log = fixture.open({ batchSize: 10 });
  for (let i = 0; i < 100; i++) await log.note([`f${i}`]);
  assert(log.entries >= 80, `${log.entries} written: more than a batch gathers meanwhile`);
  await log.flush();
  assertEquals(log.entries, 100);
  assertEquals(fixture.batches, 10);
  await log.close();
});

Deno.test("one access is written by itself after the flush interval", async () => {
  using fixture = new Fixture();
  const written = Promise.withResolvers<void>();
  const log = fixture.open({
    flushMs: 10,
    metrics: { accessBatch: () => written.resolve(), accessesDropped: () => {} },
  });
  await log.note(["once"]);
  await written.promise;
  assertEquals([...(await fixture.stored()).keys()], ["once"]);
  await log.close();
});

Deno.test("what another program wrote is read, kept and counted", async () => {
  using fixture = new Fixture();
  const kv = new Kv(fixture.dir, 1 << 26);
  const db = kv.database("");
  const batch = new KvBatch();
  batch.put(db, "theirs", new Uint8Array([7, 0, 0, 0, 0, 0, 0, 0]));
  await kv.apply(batch.bytes());
  kv.close();
  const log = fixture.open();
  assertEquals([log.lastAccess("theirs"), log.lastAccess("nobody's"), log.entries], [7, 0, 1]);
  await log.note(["ours"]);
  await log.close();
  assertEquals((await fixture.stored()).get("theirs"), [7, 0, 0, 0, 0, 0, 0, 0]);
});

Deno.test("when the database is full accesses are dropped and counted, and older ones stay", async () => {
  using fixture = new Fixture();
  const log = fixture.open({ mapBytes: 64 * 1024, batchSize: 100_000 });
  await log.note(["kept"]);
  await log.flush();
  await log.note(Array.from({ length: 5000 }, (_, i) => `${"long".repeat(20)}/${i}`));
  await log.flush();
  assertEquals(fixture.dropped, 5000);
  assertStringIncludes(fixture.errors[0]!, "raise access_mapsize_gb");
  assertEquals(log.entries, 1);
  await log.note(["kept"]);
  await log.close();
});

Deno.test("entries older than the retention are removed, page by page", async () => {
  using fixture = new Fixture();
  const first = fixture.open({ batchSize: 100_000 });
  await first.note(Array.from({ length: 20_000 }, (_, i) => `old/${i}`));
  await first.flush();
  fixture.now += 100;
  await first.note(["old/77", "new"]);
  await first.close();
  fixture.now += 50;
  const log = fixture.open({ retentionSeconds: 100 });
  await log.prune();
  assertEquals(log.entries, 2);
  assertEquals([log.lastAccess("old/77"), log.lastAccess("old/78")], [1_000_100, 0]);
  await log.close();
});
