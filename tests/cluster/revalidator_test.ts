/**
 * Copies of archives on a replica: compared when they were not for a while, replaced in one step, and
 * served when nobody can be asked.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { ObjectFetcher } from "../../src/cache/object_fetch.ts";
import { decodeMarks, MARKS_DIR } from "../../src/cache/restore_marks.ts";
import { INLINE_WORK } from "../../src/storage/transfer_threads.ts";
import { Freshness } from "../../src/cluster/freshness.ts";
import { Revalidator } from "../../src/cluster/revalidator.ts";
import type { RevalidationResult } from "../../src/observe/replica_metrics.ts";
import { StaleCopies } from "../../src/cluster/stale_copies.ts";
import { getLog } from "../../src/observe/logging.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { Engine } from "../cache/engine.ts";
import { contentOf, never, someBytes, textPath } from "../storage/contents.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";

const PERIOD_MS = 30_000, LARGE = 3_000_000;
const PATH = textPath("main/a.c,v");

/** A replica's engine, whose bucket the test is the primary of. */
class Replica implements AsyncDisposable {
  readonly engine: Engine;
  readonly peer = new MemoryBackend();
  readonly results: RevalidationResult[] = [];
  readonly revalidator: Revalidator;
  readonly freshness: Freshness;
  nowMs = 1_800_000_000_000;
  servesStale = true;
  /** Ends the wait for the storage. */
  late = Promise.withResolvers<void>();
  #stored = 1n;

  constructor(withPeer = false) {
    this.freshness = new Freshness({ write: () => {} }, () => this.nowMs, PERIOD_MS);
    this.engine = new Engine({ freshness: this.freshness });
    const { engine } = this;
    const late = () => this.late.promise, servesStale = () => this.servesStale;
    this.revalidator = new Revalidator({
      files: engine.files,
      manifest: engine.manifest,
      activity: engine.activity,
      freshness: this.freshness,
      fetcher: new ObjectFetcher(engine.files, () => 4, INLINE_WORK),
      marks: engine.marks,
      fetch: (path) => engine.restorer.fetch(path),
      backends: withPeer ? [this.peer, engine.primary] : [engine.primary],
      log: getLog("replica"),
      nowSeconds: () => Math.floor(Date.now() / 1000),
      after: () => ({ done: late(), clear: () => {} }),
      timeoutMs: 1000,
      get servesStale() {
        return servesStale();
      },
      onResult: (result) => this.results.push(result),
    });
  }

  /** The primary stores another version. */
  async store(content: string | number, backend = this.engine.primary): Promise<void> {
    const bytes = typeof content === "string"
      ? new TextEncoder().encode(content) as Uint8Array<ArrayBuffer>
      : someBytes(LARGE, content);
    await backend.put(PATH, contentOf(bytes, { mtimeNs: this.#stored++ * 1_000_000_000n }), never);
  }

  /** What an open under the library reads. */
  async open(): Promise<string> {
    const answer = await this.revalidator.check(PATH);
    if (answer.kind !== "ok") return answer.kind === "error" ? answer.why : answer.kind;
    return this.engine.read(PATH);
  }

  /** Operations on the bucket since the last call. */
  requests(): string[] {
    const made = this.engine.primary.calls.map(({ operation }) => operation);
    this.engine.primary.calls.length = 0;
    return made.filter((operation) => operation !== "put");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.engine[Symbol.asyncDispose]();
  }
}

Deno.test("a restored copy is fresh for the period; then one request finds it unchanged", async () => {
  await using replica = new Replica();
  await replica.store("one");
  assertEquals(await replica.open(), "one");
  assertEquals(replica.requests(), ["getRange"]);
  replica.nowMs += PERIOD_MS - 1;
  assertEquals(await replica.open(), "one");
  assertEquals(replica.requests(), []);
  replica.nowMs += 1;
  assertEquals(await Promise.all([replica.open(), replica.open()]), ["one", "one"]);
  assertEquals(replica.requests(), ["getIfChanged"]);
  assertEquals(await replica.open(), "one");
  assertEquals(replica.requests(), []);
  assertEquals(replica.results, ["unchanged"]);
});

Deno.test("a newer version takes the copy's place; who has the old one open keeps it", async () => {
  for (const next of ["two", 7]) {
    await using replica = new Replica();
    await replica.store("one");
    await replica.open();
    using reader = Deno.openSync(`${replica.engine.dir}/${PATH}`);
    await replica.store(next);
    replica.nowMs += PERIOD_MS;
    const read = await replica.open();
    if (next === "two") assertEquals(read, "two");
    else {
      const bytes = Deno.readFileSync(`${replica.engine.dir}/${PATH}`);
      assertEquals(bytes, someBytes(LARGE, 7));
    }
    assertEquals(replica.results, ["replaced"]);
    const old = new Uint8Array(10);
    assertEquals(reader.readSync(old), 3);
    assertEquals(new TextDecoder().decode(old.subarray(0, 3)), "one");
    const left = [...Deno.readDirSync(`${replica.engine.dir}/.p4cache/restore`)];
    assertEquals(left, []);
    const { version, row } = replica.engine.manifest.get(PATH)!;
    const stored = replica.engine.primary.objects.get(PATH)!.info;
    assertEquals([version?.etag, version?.digest], [stored.etag, stored.digest]);
    assertEquals(row.size, stored.size);
    assertEquals(replica.engine.manifest.counters.bytes, stored.size);
  }
});

Deno.test("revisions that are written once are never compared", async () => {
  await using replica = new Replica();
  const path = textPath("main/a.c,d/1.1.gz");
  const bytes = new TextEncoder().encode("one") as Uint8Array<ArrayBuffer>;
  await replica.engine.primary.put(path, contentOf(bytes), never);
  for (let i = 0; i < 3; i++) {
    assertEquals((await replica.revalidator.check(path)).kind, "ok");
    replica.nowMs += PERIOD_MS;
  }
  assertEquals(replica.requests(), ["getRange"]);
});

Deno.test("the copy is served when the storage is down, and soon tried again", async () => {
  await using replica = new Replica();
  await replica.store("one");
  await replica.open();
  await replica.store("two");
  replica.nowMs += PERIOD_MS;
  replica.engine.primary.fault = () => {
    throw new StorageError("transient", "down");
  };
  assertEquals(await replica.open(), "one");
  assertEquals(await replica.open(), "one");
  assertEquals(replica.results, ["failed"], "not asked again at once");
  replica.engine.primary.fault = () => {};
  replica.nowMs += 5000;
  assertEquals(await replica.open(), "two");
});

Deno.test("where old copies must not be served, the open fails instead", async () => {
  await using replica = new Replica();
  replica.servesStale = false;
  await replica.store("one");
  await replica.open();
  replica.nowMs += PERIOD_MS;
  replica.engine.primary.fault = () => {
    throw new StorageError("transient", "down");
  };
  assert((await replica.open()).startsWith("stale"));
});

Deno.test("an open waits no longer than it may; the new version comes for the next one", async () => {
  await using replica = new Replica();
  await replica.store("one");
  await replica.open();
  await replica.store("two");
  replica.nowMs += PERIOD_MS;
  const answer = Promise.withResolvers<void>();
  replica.engine.primary.fault = () => answer.promise;
  const open = replica.open();
  replica.late.resolve();
  assertEquals(await open, "one");
  assertEquals(replica.results, ["late"]);
  answer.resolve();
  await replica.revalidator.stop();
  assertEquals(replica.engine.read(PATH), "two");
  assertEquals(replica.results, ["late", "replaced"]);
});

Deno.test("an object that is gone leaves the copy", async () => {
  await using replica = new Replica();
  await replica.store("one");
  await replica.open();
  replica.engine.primary.objects.delete(PATH);
  replica.nowMs += PERIOD_MS;
  assertEquals(await replica.open(), "one");
  assertEquals(replica.results, ["absent"]);
});

Deno.test("a file that p4d itself wrote is left alone, and taken over where it is the stored one", async () => {
  await using replica = new Replica();
  const { engine } = replica;
  await replica.store("stored");
  Deno.mkdirSync(`${engine.dir}/main`);
  Deno.writeTextFileSync(`${engine.dir}/${PATH}`, "pulled");
  assertEquals(await replica.open(), "pulled");
  assertEquals(replica.results, ["local"]);
  assertEquals(engine.manifest.get(PATH), null);
  Deno.writeTextFileSync(`${engine.dir}/${PATH}`, "stored");
  replica.nowMs += PERIOD_MS;
  assertEquals(await replica.open(), "stored");
  assertEquals(replica.results, ["local", "unchanged"]);
  await replica.store("newer");
  replica.nowMs += PERIOD_MS;
  assertEquals(await replica.open(), "newer");
});

Deno.test("what p4d writes while the new version is fetched stays", async () => {
  await using replica = new Replica();
  const { engine } = replica;
  await replica.store("one");
  await replica.open();
  await replica.store("two");
  replica.nowMs += PERIOD_MS;
  engine.primary.fault = () => {
    Deno.writeTextFileSync(`${engine.dir}/${PATH}.tmp`, "pulled");
    Deno.renameSync(`${engine.dir}/${PATH}.tmp`, `${engine.dir}/${PATH}`);
  };
  assertEquals(await replica.open(), "pulled");
  assertEquals(replica.results, ["local"]);
});

Deno.test("what p4d writes in the moment of the replacement goes back in its place", async () => {
  await using replica = new Replica();
  const { files, dir } = replica.engine;
  await replica.store("one");
  await replica.open();
  await replica.store("two");
  replica.nowMs += PERIOD_MS;
  const exchange = files.exchange.bind(files);
  files.exchange = (aside, path) => {
    files.exchange = exchange;
    Deno.writeTextFileSync(`${dir}/${PATH}.tmp`, "pulled");
    Deno.renameSync(`${dir}/${PATH}.tmp`, `${dir}/${PATH}`);
    exchange(aside, path);
  };
  assertEquals(await replica.open(), "pulled");
  assertEquals(replica.results, ["local"]);
});

Deno.test("P2: a replacement has its mark before it takes the name, for the case of a power cut", async () => {
  await using replica = new Replica();
  const { files, dir, marks, manifest } = replica.engine;
  await replica.store("one");
  await replica.open();
  await manifest.commit();
  await marks.stop();
  await replica.store("two");
  replica.nowMs += PERIOD_MS;
  const marked = () =>
    decodeMarks(Array.from(Deno.readDirSync(`${dir}/${MARKS_DIR}`), ({ name }) => name));
  const exchange = files.exchange.bind(files);
  let atExchange: ReturnType<typeof marked> = [];
  files.exchange = (aside, path) => {
    atExchange = marked();
    exchange(aside, path);
  };
  assertEquals(await replica.open(), "two");
  const { mtimeNs, digest } = manifest.get(PATH)!.version!;
  assertEquals(atExchange, [{ path: PATH, version: { mtimeNs, digest } }]);
  await manifest.commit();
  await marks.stop();
  assertEquals(marked(), []);
});

Deno.test("the same content under another tag is no change", async () => {
  await using replica = new Replica(true);
  await replica.store("one");
  await replica.open();
  await replica.peer.put(PATH, contentOf(someBytes(1)), never);
  const { info, bytes } = replica.engine.primary.objects.get(PATH)!;
  replica.peer.objects.set(PATH, { bytes, info: { ...info, etag: "another" } });
  replica.nowMs += PERIOD_MS;
  assertEquals(await replica.open(), "one");
  assertEquals(replica.results, ["unchanged"]);
  assertEquals(replica.engine.manifest.get(PATH)?.version?.etag, "another");
});

Deno.test("where the first storage is down or has none, the next one is asked", async () => {
  await using replica = new Replica(true);
  await replica.store("one");
  await replica.open();
  await replica.store("two");
  for (const kind of ["absent", "transient"] as const) {
    replica.peer.fault = () => {
      throw new StorageError(kind, kind);
    };
    replica.nowMs += PERIOD_MS;
    assertEquals(await replica.open(), "two");
  }
  assertEquals(replica.results, ["replaced", "unchanged"]);
});

Deno.test("a change that the feed tells during a restore is looked at again", async () => {
  await using replica = new Replica();
  const { engine, freshness } = replica;
  const dropped: string[] = [];
  const listener = new StaleCopies({
    freshness,
    manifest: engine.manifest,
    evictOnly: async (paths) => {
      dropped.push(...paths);
      return await engine.evictor.evictOnly(paths);
    },
    onChange: () => {},
    onGap: () => {},
    onError: (error) => {
      throw error;
    },
  });
  await replica.store("one");
  engine.primary.fault = async (operation) => {
    if (operation !== "getRange") return;
    engine.primary.fault = () => {};
    // Read already, and not yet placed.
    const { info, bytes } = engine.primary.objects.get(PATH)!;
    await replica.store("two");
    listener.changed({ path: PATH, etag: engine.primary.objects.get(PATH)!.info.etag });
    engine.primary.objects.set(PATH, { info, bytes });
  };
  assertEquals(await replica.open(), "one");
  await replica.store("two");
  assertEquals(await replica.open(), "two");
  // What is here is what is told: it stays. What is not, goes from the disk.
  listener.changed({ path: PATH, etag: engine.manifest.get(PATH)!.version!.etag });
  await listener.settled();
  assertEquals(dropped, []);
  await replica.store("three");
  listener.changed({ path: PATH, etag: engine.primary.objects.get(PATH)!.info.etag });
  await listener.settled();
  assertEquals(dropped, [PATH]);
  assert(!engine.has(PATH));
  assertEquals(await replica.open(), "three");
});
