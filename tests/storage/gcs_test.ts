/** The Google Cloud Storage backend against a server of its protocol. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { gzipSync } from "node:zlib";
import { type Backend, SLICE_BYTES } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { conformance, fails, paths } from "./conformance.ts";
import { bytePath, contentOf, never, someBytes, textPath } from "./contents.ts";
import { type FakeGcs, fakeGcsBinary, gcsConfig, startFakeGcs } from "./fake_gcs.ts";

const binary = fakeGcsBinary();
const missing = binary === null ? "no fake-gcs-server; set FAKE_GCS_BIN" : null;

conformance("gcs", missing, async () => {
  const server = await startFakeGcs(binary!);
  const backend = await openBackend(server.config());
  return {
    backend,
    // Sessions of resumable uploads hold nothing that anybody could list.
    leftovers: () => Promise.resolve([]),
    end: async () => {
      await backend.close();
      await server.end();
    },
  };
});

function onServer(sentence: string, test: (server: FakeGcs) => Promise<void>): void {
  Deno.test({
    name: `gcs: ${sentence}` + (missing === null ? "" : ` (skipped: ${missing})`),
    ignore: missing !== null,
    fn: async () => {
      const server = await startFakeGcs(binary!);
      try {
        await test(server);
      } finally {
        await server.end();
      }
    },
  });
}

async function using(backend: Backend, test: (backend: Backend) => Promise<void>): Promise<void> {
  try {
    await test(backend);
  } finally {
    await backend.close();
  }
}

onServer("an object is the file's plain bytes under prefix and path", async (server) => {
  const large = someBytes(2 * SLICE_BYTES + 5);
  await using(await openBackend(server.config({ prefix: "p/q" })), async (backend) => {
    await backend.put(textPath("a b/ü,v"), contentOf(someBytes(99)), never);
    await backend.put(bytePath("d/\xe9%,v"), contentOf(someBytes(9)), never);
    await backend.put(textPath("large"), contentOf(large), never);
  });
  assertEquals(await server.read("p/q/a b/ü,v"), someBytes(99));
  assertEquals(await server.read("p/q/.p4cache/names/d/%E9%25,v"), someBytes(9));
  assertEquals(await server.read("p/q/large"), large);
});

onServer("an object that another program stored is read as it is", async (server) => {
  await server.store("depot/foreign,v", someBytes(1234));
  await using(await openBackend(server.config()), async (backend) => {
    const path = textPath("foreign,v");
    const { info, bytes } = await backend.getRange(path, 0, SLICE_BYTES, { signal: never });
    assertEquals(bytes, someBytes(1234));
    assertEquals([info.size, info.mode, info.mtimeNs, info.digest], [1234, null, null, null]);
    assertEquals(await backend.head(path, never), info);
    await backend.copy(path, textPath("copy"), never);
    const { bytes: copied } = await backend.getRange(textPath("copy"), 0, 9999, { signal: never });
    assertEquals(copied, someBytes(1234));
  });
});

onServer("a compressed file comes back compressed", async (server) => {
  const bytes = Uint8Array.from(gzipSync(someBytes(500)));
  await using(await openBackend(server.config()), async (backend) => {
    await backend.put(textPath("f,d/1.1.gz"), contentOf(bytes), never);
    const read = await backend.getRange(textPath("f,d/1.1.gz"), 0, 9999, { signal: never });
    assertEquals(read.bytes, bytes);
  });
});

onServer("an object that would be unpacked on the way is refused, never given", async (server) => {
  await server.store(
    "depot/packed",
    Uint8Array.from(gzipSync(someBytes(500))),
    "&contentEncoding=gzip",
  );
  await using(await openBackend(server.config()), async (backend) => {
    const path = textPath("packed");
    const reads = [
      () => backend.getRange(path, 0, 9999, { signal: never }),
      () => backend.getRange(path, 3, 10, { signal: never }),
      () => backend.getIfChanged(path, "1", 9999, never),
      () => backend.head(path, never),
    ];
    for (const read of reads) {
      assertStringIncludes((await fails("permanent", read)).message, "clear-content-encoding");
    }
  });
});

onServer("a bucket that does not exist is denied, never absent", async (server) => {
  await using(await openBackend(server.config({ bucket: "no-such-bucket" })), async (backend) => {
    for (
      const call of [
        () => backend.head(textPath("x"), never),
        () => backend.getRange(textPath("x"), 0, 10, { signal: never }),
        () => backend.put(textPath("x"), contentOf(someBytes(5)), never),
        () => backend.put(textPath("x"), contentOf(someBytes(SLICE_BYTES + 1)), never),
        () => backend.copy(textPath("x"), textPath("y"), never),
        () => backend.delete(textPath("x"), never),
        () => paths(backend, ""),
      ]
    ) assertStringIncludes((await fails("denied", call)).message, "no-such-bucket");
  });
});

onServer("a listing of several pages is whole and in order", async (server) => {
  await using(await openBackend(server.config({ prefix: "" })), async (backend) => {
    const all = Array.from({ length: 1100 }, (_, i) => `l/${i}`);
    for (let at = 0; at < all.length; at += 50) {
      await Promise.all(all.slice(at, at + 50).map((name) => server.store(name, someBytes(1))));
    }
    assertEquals(await paths(backend, "l/"), [...all].sort());
    assertEquals(await paths(backend, "l/", "l/9"), [...all].sort().filter((name) => name > "l/9"));
  });
});

onServer("a server that is down is transient", async () => {
  await using(await openBackend(gcsConfig("http://127.0.0.1:1")), async (backend) => {
    await fails("transient", () => backend.head(textPath("x"), never));
    await fails("transient", () => backend.put(textPath("x"), contentOf(someBytes(5)), never));
  });
});
