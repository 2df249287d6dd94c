/**
 * The promises of `src/storage/backend.ts`, run against every backend.
 *
 * @module
 */

import { assert, assertEquals, assertNotEquals, assertRejects } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import type { DepotPath } from "../../src/depot_path.ts";
import { parseLease } from "../../src/cluster/lease_record.ts";
import { LeaseStore } from "../../src/cluster/lease_store.ts";
import { type Backend, SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { bytePath, contentOf, never, someBytes, textPath } from "./contents.ts";
import { throughFiles } from "./through_files.ts";

/** A backend under test. */
export interface Subject {
  readonly backend: Backend;
  /** Uploads in parts that were begun and neither completed nor aborted; objects half written. */
  leftovers(): Promise<string[]>;
  /** Ends it and removes what it kept. */
  end(): Promise<void>;
}

const NAMES: readonly DepotPath[] = [
  textPath("plain,v"),
  textPath("dir/sub/file,d/1.12.gz"),
  textPath("with space and  two"),
  textPath("percent%20 %zz 100%"),
  textPath("hash#plus+question?and&equals="),
  textPath("quote'double\"<angle>`back\\slash*~"),
  textPath("grüße/日本語/🎉"),
  bytePath("latin1-\xe9\xff/caf\xe9,v"),
  bytePath("\x80"),
  bytePath("tab\tand\x01bell\x7f"),
  textPath("n".repeat(255)),
  textPath("ü".repeat(127)),
  textPath("..."),
  textPath(".hidden/..double"),
];

/** Registers the suite. @param ignore Why it cannot run here; null when it can. */
export function conformance(
  name: string,
  ignore: string | null,
  open: () => Promise<Subject>,
  features: { readonly digests: boolean } = { digests: true },
): void {
  const promise = (sentence: string, test: (subject: Subject) => Promise<void>) => {
    const note = ignore === null ? "" : ` (skipped: ${ignore})`;
    Deno.test({
      name: `${name}: ${sentence}${note}`,
      ignore: ignore !== null,
      fn: async () => {
        const subject = await open();
        try {
          await test(subject);
          assertEquals(await subject.leftovers(), []);
        } finally {
          await subject.end();
        }
      },
    });
  };

  promise("what is put comes back, with its metadata", async ({ backend }) => {
    const path = textPath("depot/main/file,v");
    const bytes = someBytes(12_345);
    const content = contentOf(bytes, { mtimeNs: 1_234_567_890_987_654_321n, mode: 0o640 });
    const { etag } = await backend.put(path, content, never);
    const info = await backend.head(path, never);
    const { storedMs: _, ...known } = info;
    assertEquals(known, {
      size: bytes.length,
      etag,
      mtimeNs: 1_234_567_890_987_654_321n,
      mode: 0o640,
      digest: features.digests ? content.digest : info.digest,
    });
    const whole = await backend.getRange(path, 0, SLICE_BYTES, { signal: never });
    assertEquals(whole, { info, bytes });
  });

  promise("a range is exactly the bytes asked for, fewer only at the end", async ({ backend }) => {
    const path = textPath("ranges");
    const bytes = someBytes(1000);
    await backend.put(path, contentOf(bytes), never);
    const read = async (offset: number, length: number) =>
      (await backend.getRange(path, offset, length, { signal: never })).bytes;
    assertEquals(await read(0, 1), bytes.slice(0, 1));
    assertEquals(await read(10, 20), bytes.slice(10, 30));
    assertEquals(await read(990, 500), bytes.slice(990));
    assertEquals(await read(999, 1), bytes.slice(999));
    assertEquals((await read(1000, 10)).length, 0);
    assertEquals((await read(5000, 10)).length, 0);
    assertEquals((await read(10, 0)).length, 0);
    const past = await backend.getRange(path, 5000, 10, { signal: never });
    assertEquals(past.info.size, 1000);
  });

  promise("an empty object is an object", async ({ backend }) => {
    const path = textPath("empty");
    await backend.put(path, contentOf(new Uint8Array(0)), never);
    assertEquals((await backend.head(path, never)).size, 0);
    const { info, bytes } = await backend.getRange(path, 0, 100, { signal: never });
    assertEquals([info.size, bytes.length], [0, 0]);
  });

  for (const size of [SLICE_BYTES, SLICE_BYTES + 1, 2 * SLICE_BYTES, 20 * 1024 * 1024]) {
    promise(`an object of ${size} bytes comes back slice by slice`, async ({ backend }) => {
      const path = textPath("large/object");
      const bytes = someBytes(size);
      const content = contentOf(bytes);
      const { etag } = await backend.put(path, content, never);
      const info = await backend.head(path, never);
      assertEquals([info.size, info.etag, info.mode], [size, etag, content.mode]);
      assertEquals(info.mtimeNs, content.mtimeNs);
      for (let at = 0; at < size; at += SLICE_BYTES) {
        const slice = await backend.getRange(path, at, SLICE_BYTES, {
          ifMatch: etag,
          signal: never,
        });
        const same = Buffer.compare(slice.bytes, bytes.subarray(at, at + SLICE_BYTES)) === 0;
        assert(same, `slice at ${at} differs`);
      }
    });
  }

  promise("every name that a depot can hold is kept apart from all others", async ({ backend }) => {
    for (const [i, path] of NAMES.entries()) {
      await backend.put(path, contentOf(someBytes(10 + i, i + 1)), never);
    }
    for (const [i, path] of NAMES.entries()) {
      const { bytes } = await backend.getRange(path, 0, 100, { signal: never });
      assertEquals(bytes, someBytes(10 + i, i + 1), path);
    }
    const listed = await paths(backend, "");
    assertEquals(listed, [...NAMES].sort());
    for (const path of NAMES) await backend.delete(path, never);
    assertEquals(await paths(backend, ""), []);
  });

  promise("a put over an object replaces it and its metadata", async ({ backend }) => {
    const path = textPath("rewritten,v");
    const first = await backend.put(path, contentOf(someBytes(100, 1)), never);
    const newer = contentOf(someBytes(70, 2), { mtimeNs: 5_000_000_007n, mode: 0o600 });
    const second = await backend.put(path, newer, never);
    assertNotEquals(first.etag, second.etag);
    const { info, bytes } = await backend.getRange(path, 0, 1000, { signal: never });
    assertEquals(bytes, someBytes(70, 2));
    assertEquals([info.etag, info.mtimeNs, info.mode], [second.etag, 5_000_000_007n, 0o600]);
  });

  promise("no bytes of another version are given than the one asked for", async ({ backend }) => {
    const path = textPath("changing");
    const { etag } = await backend.put(path, contentOf(someBytes(100, 1)), never);
    await backend.put(path, contentOf(someBytes(100, 2)), never);
    for (const [offset, length] of [[0, 50], [200, 10], [0, 0]] as const) {
      await fails(
        "corrupt",
        () => backend.getRange(path, offset, length, { ifMatch: etag, signal: never }),
      );
    }
  });

  for (const size of [100, SLICE_BYTES + 1]) {
    promise(`a put of ${size} bytes happens only under its condition`, async ({ backend }) => {
      const path = textPath("dir/conditional");
      const first = contentOf(someBytes(size, 1)), second = contentOf(someBytes(size, 2));
      const stored = async (seed: number) => {
        const { bytes } = await backend.getRange(path, 0, 100, { signal: never });
        assertEquals(bytes, someBytes(size, seed).slice(0, 100));
      };
      await fails("conflict", () => backend.put(path, first, never, { ifMatch: '"none"' }));
      await fails("absent", () => backend.head(path, never));
      const { etag } = await backend.put(path, first, never, { ifAbsent: true });
      await fails("conflict", () => backend.put(path, second, never, { ifAbsent: true }));
      await stored(1);
      const newer = await backend.put(path, second, never, { ifMatch: etag });
      await stored(2);
      assertNotEquals(newer.etag, etag);
      await fails("conflict", () => backend.put(path, first, never, { ifMatch: etag }));
      await stored(2);
    });
  }

  promise("the lease is written over what was read, and over nothing else", async ({ backend }) => {
    const store = new LeaseStore(backend, "all", 60, 60_000);
    const record = parseLease(new Uint8Array(0), 60);
    assertEquals(await store.read(never), null);
    const first = await store.write({ ...record, version: 1 }, null, never);
    await fails("conflict", () => store.write({ ...record, version: 2 }, null, never));
    const second = await store.write({ ...record, version: 3 }, first, never);
    await fails("conflict", () => store.write({ ...record, version: 4 }, first, never));
    assertEquals(
      await store.tryConditions({ ...record, version: 5 }, first, second, never),
      second,
    );
    const found = await store.read(never);
    assert(store.isCertain(found), "conditions are not kept to");
    assertEquals(found, { record: { ...record, version: 3 }, etag: second });
    assertEquals(await paths(backend, ""), [], "a listing shows it");
  });

  promise("of two puts where nothing may be, one happens", async ({ backend }) => {
    const path = textPath("dir/raced");
    const results = await Promise.allSettled(
      [1, 2, 3, 4].map((seed) =>
        backend.put(path, contentOf(someBytes(100, seed)), never, { ifAbsent: true })
      ),
    );
    // A provider may call a race a passing failure; the next attempt then finds the other's object.
    const stored = results.filter((result) => result.status === "fulfilled");
    assertEquals(stored.length, 1);
    const winner = results.findIndex((result) => result.status === "fulfilled") + 1;
    const { bytes } = await backend.getRange(path, 0, 100, { signal: never });
    assertEquals(bytes, someBytes(100, winner));
  });

  for (const size of [0, 1000, SLICE_BYTES + 1]) {
    promise(`a copy of ${size} bytes is the object under another name`, async ({ backend }) => {
      const from = bytePath("from/\xe9%20 here"), to = textPath("to/dir/there");
      const content = contentOf(someBytes(size), { mode: 0o640, mtimeNs: 1_234_567_891n });
      await backend.put(from, content, never);
      await backend.put(to, contentOf(someBytes(7)), never);
      const { etag } = await backend.copy(from, to, never);
      const { storedMs: _, ...source } = await backend.head(from, never);
      const { storedMs: __, ...copy } = await backend.head(to, never);
      assertEquals(copy, { ...source, etag });
      for (let at = 0; at < size; at += SLICE_BYTES) {
        const read = (path: DepotPath) =>
          backend.getRange(path, at, SLICE_BYTES, { signal: never });
        const [original, copy] = [await read(from), await read(to)];
        assert(Buffer.compare(original.bytes, copy.bytes) === 0, `bytes from ${at} differ`);
      }
      await backend.copy(to, from, never);
      assertEquals((await backend.head(from, never)).digest, source.digest);
    });
  }

  promise("a copy of what is missing is absent and makes nothing", async ({ backend }) => {
    const to = textPath("kept");
    await backend.put(to, contentOf(someBytes(7)), never);
    await fails("absent", () => backend.copy(textPath("none/such"), to, never));
    await fails("absent", () => backend.copy(textPath("none/such"), textPath("new"), never));
    assertEquals(await paths(backend, ""), [to]);
  });

  promise("an object is read again only when it has changed", async ({ backend }) => {
    for (const size of [1000, 0]) {
      const path = textPath(`revalidated/${size}`);
      const { etag } = await backend.put(path, contentOf(someBytes(size)), never);
      for (const length of [0, 10, 5000]) {
        assertEquals(await backend.getIfChanged(path, etag, length, never), null);
        const now = await backend.getIfChanged(path, '"other"', length, never);
        assertEquals(now?.info.etag, etag);
        assertEquals(now?.bytes, someBytes(size).slice(0, length));
      }
      await backend.put(path, contentOf(someBytes(50, 2)), never);
      const now = await backend.getIfChanged(path, etag, 20, never);
      assertEquals([now?.info.size, now?.bytes], [50, someBytes(50, 2).slice(0, 20)]);
    }
    const none = textPath("revalidated/none");
    await fails("absent", () => backend.getIfChanged(none, '"other"', 10, never));
  });

  promise("a missing object is absent", async ({ backend }) => {
    for (const path of [textPath("none"), textPath("no/such/dir/none"), bytePath("\xff")]) {
      await fails("absent", () => backend.head(path, never));
      await fails("absent", () => backend.getRange(path, 0, 10, { signal: never }));
      await fails("absent", () => backend.getRange(path, 0, 0, { signal: never }));
    }
  });

  promise(
    "neither a directory of objects nor what is below an object is one",
    async ({ backend }) => {
      await backend.put(textPath("dir/object"), contentOf(someBytes(10)), never);
      for (const path of [textPath("dir"), textPath("dir/object/below")]) {
        await fails("absent", () => backend.head(path, never));
        await fails("absent", () => backend.getRange(path, 0, 10, { signal: never }));
        await backend.delete(path, never);
      }
      assertEquals(await paths(backend, ""), [textPath("dir/object")]);
    },
  );

  promise("a deleted object is absent; deleting it again succeeds", async ({ backend }) => {
    const path = textPath("dir/short-lived");
    await backend.put(path, contentOf(someBytes(10)), never);
    await backend.delete(path, never);
    await fails("absent", () => backend.head(path, never));
    await backend.delete(path, never);
    await backend.delete(textPath("never/was"), never);
  });

  promise("a listing is in byte order, by prefix, and can be gone on with", async ({ backend }) => {
    const names = ["a!", "a.b/c", "a/b", "a/b.c", "a/c/d", "a0", "ab/x", "b/é", "b/z"].map(
      textPath,
    );
    for (const path of names) await backend.put(path, contentOf(someBytes(3)), never);
    const sorted = [...names].sort();
    assertEquals(await paths(backend, ""), sorted);
    assertEquals(await paths(backend, "a/"), sorted.filter((path) => path.startsWith("a/")));
    assertEquals(await paths(backend, "a"), sorted.filter((path) => path.startsWith("a")));
    assertEquals(await paths(backend, "a/c/d"), [textPath("a/c/d")]);
    assertEquals(await paths(backend, "none/"), []);
    for (const after of [...sorted, "a/", "zzz"]) {
      assertEquals(await paths(backend, "", after), sorted.filter((path) => path > after), after);
    }
  });

  promise("an aborted operation ends at once and stores nothing", async ({ backend }) => {
    const path = textPath("aborted");
    const aborted = AbortSignal.abort();
    await fails("transient", () => backend.put(path, contentOf(someBytes(10)), aborted));
    await fails("transient", () => backend.head(path, aborted));
    await fails("transient", () => backend.getRange(path, 0, 1, { signal: aborted }));
    await fails("transient", () => backend.delete(path, aborted));
    await fails("transient", () => backend.copy(path, path, aborted));
    await fails("transient", () => backend.getIfChanged(path, '"e"', 1, aborted));
    await fails("transient", () => paths(backend, "", "", aborted));
    await fails("absent", () => backend.head(path, never));
  });

  promise("a put that is aborted midway leaves nothing", async ({ backend }) => {
    const path = textPath("aborted/midway");
    const content = contentOf(someBytes(3 * SLICE_BYTES));
    const controller = new AbortController();
    const read: typeof content.read = (offset, length) => {
      if (offset > 0) controller.abort();
      return content.read(offset, length);
    };
    await fails("transient", () => backend.put(path, { ...content, read }, controller.signal));
    await fails("absent", () => backend.head(path, never));
  });

  for (const size of [100, 20 * 1024 * 1024]) {
    promise(
      `content that changes while ${size} bytes are sent leaves nothing`,
      async ({ backend }) => {
        const path = textPath("changed/meanwhile");
        const content = contentOf(someBytes(size));
        const changed = new Error("the file changed");
        const read: typeof content.read = (offset, length) => {
          if (offset + length === size) throw changed;
          return content.read(offset, length);
        };
        const error = await fails(
          "permanent",
          () => backend.put(path, { ...content, read }, never),
        );
        assertEquals(error.cause, changed);
        await fails("absent", () => backend.head(path, never));
      },
    );
  }

  for (const size of [3_000_000, 2 * SLICE_BYTES + 300_001]) {
    promise(
      `a file of ${size} bytes is stored from its file, and comes back into one`,
      ({ backend }) => throughFiles(backend, size),
    );
  }

  promise("many operations at once do not mix", async ({ backend }) => {
    await Promise.all(Array.from({ length: 60 }, async (_, i) => {
      const path = textPath(`many/${i % 7}/${i}`);
      const bytes = someBytes(1000 + i, i + 1);
      await backend.put(path, contentOf(bytes), never);
      const read = await backend.getRange(path, 0, 5000, { signal: never });
      assertEquals(read.bytes, bytes);
    }));
    assertEquals((await paths(backend, "many/")).length, 60);
  });
}

/** Expects a StorageError of the kind. */
export async function fails(
  kind: StorageError["kind"],
  call: () => Promise<unknown>,
): Promise<StorageError> {
  const error = await assertRejects(call, StorageError);
  assertEquals(error.kind, kind, error.message);
  return error;
}

/** All listed paths, as they come. */
export async function paths(
  backend: Backend,
  prefix: string,
  after = "",
  signal = never,
): Promise<string[]> {
  const found: string[] = [];
  for await (const { path } of backend.list(prefix, signal, after)) found.push(path);
  return found;
}
