/** The S3 backend against a real server. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { Backend } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { conformance, fails, paths } from "./conformance.ts";
import { bytePath, contentOf, never, someBytes, textPath } from "./contents.ts";
import { BUCKET, type Server, startVersitygw, versitygwBinary } from "./versitygw.ts";
import { copiesInParts } from "./s3/parted_copies.ts";

const binary = versitygwBinary();
const missing = binary === null ? "no versitygw; set VERSITYGW_BIN" : null;

/** Names of uploads in parts that the server still holds. */
function uploads(server: Server): string[] {
  const found: string[] = [];
  const walk = (dir: string) => {
    for (const entry of Deno.readDirSync(dir)) {
      if (entry.isDirectory) walk(`${dir}/${entry.name}`);
      else found.push(`${dir}/${entry.name}`);
    }
  };
  try {
    walk(`${server.dir}/${BUCKET}/.sgwtmp/multipart`);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return found;
}

conformance("s3", missing, async () => {
  const server = await startVersitygw(binary!);
  const backend = await openBackend(server.config());
  return {
    backend,
    leftovers: () => Promise.resolve(uploads(server)),
    end: async () => {
      await backend.close();
      await server.end();
    },
  };
});

function onServer(sentence: string, test: (server: Server) => Promise<void>): void {
  Deno.test({
    name: `s3: ${sentence}` + (missing === null ? "" : ` (skipped: ${missing})`),
    ignore: missing !== null,
    fn: async () => {
      const server = await startVersitygw(binary!);
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
  await using(await openBackend(server.config({ prefix: "p/q" })), async (backend) => {
    await backend.put(textPath("a b/ü,v"), contentOf(someBytes(99)), never);
  });
  assertEquals(await Deno.readFile(`${server.dir}/${BUCKET}/p/q/a b/ü,v`), someBytes(99));
});

onServer("a path that is not UTF-8 is kept escaped, apart from all others", async (server) => {
  await using(await openBackend(server.config()), async (backend) => {
    await backend.put(bytePath("d/\xe9%,v"), contentOf(someBytes(9)), never);
    await backend.put(textPath("d/a"), contentOf(someBytes(9)), never);
    await backend.put(textPath("d/z"), contentOf(someBytes(9)), never);
    assertEquals(await paths(backend, "d/"), ["d/a", "d/z", "d/\xe9%,v"]);
  });
  const stored = `${server.dir}/${BUCKET}/depot/.p4cache/names/d/%E9%25,v`;
  assertEquals(await Deno.readFile(stored), someBytes(9));
});

onServer("a bucket that does not exist is denied, never absent", async (server) => {
  await using(await openBackend(server.config({ bucket: "no-such-bucket" })), async (backend) => {
    for (
      const call of [
        () => backend.head(textPath("x"), never),
        () => backend.getRange(textPath("x"), 0, 10, { signal: never }),
        () => backend.put(textPath("x"), contentOf(someBytes(5)), never),
        () => backend.delete(textPath("x"), never),
        () => paths(backend, ""),
      ]
    ) assertStringIncludes((await fails("denied", call)).message, "NoSuchBucket");
  });
});

onServer("wrong keys are denied with what to do", async (server) => {
  await using(await openBackend(server.config({ secretKey: "wrong" })), async (backend) => {
    const error = await fails("denied", () => backend.head(textPath("x"), never));
    assertStringIncludes(error.message, "the secret key is not the access key's; set");
  });
  await using(await openBackend(server.config({ accessKey: "wrong" })), async (backend) => {
    // This server says so with a 404 of its own making.
    await fails("denied", () => backend.head(textPath("x"), never));
  });
});

onServer("objects are sent whole or in larger parts where that is wanted", async (server) => {
  const changes = { multipartThresholdMib: 16, partSizeMib: 16, partConcurrency: 2 };
  await using(await openBackend(server.config(changes)), async (backend) => {
    for (const [size, parts] of [[12, null], [40, 3]] as const) {
      const content = contentOf(someBytes(size * 1024 * 1024));
      const { etag } = await backend.put(textPath(`${size}`), content, never);
      assertEquals(/-(\d+)"$/.exec(etag)?.[1] ?? null, parts === null ? null : `${parts}`);
      const { info } = await backend.getRange(textPath(`${size}`), 0, 1, { signal: never });
      assertEquals([info.size, info.digest], [content.size, content.digest]);
    }
  });
});

onServer("a listing of several pages is whole and in order", async (server) => {
  await using(await openBackend(server.config({ prefix: "" })), async (backend) => {
    const all = Array.from({ length: 1300 }, (_, i) => textPath(`l/${i}`));
    for (let at = 0; at < all.length; at += 50) {
      await Promise.all(
        all.slice(at, at + 50).map((path) => backend.put(path, contentOf(someBytes(1)), never)),
      );
    }
    assertEquals(await paths(backend, "l/"), [...all].sort());
  });
});

onServer("a server that is down is transient", async (server) => {
  await using(
    await openBackend(server.config({ endpoint: "http://127.0.0.1:1" })),
    async (backend) => {
      await fails("transient", () => backend.head(textPath("x"), never));
      await fails("transient", () => backend.put(textPath("x"), contentOf(someBytes(5)), never));
    },
  );
});

onServer(
  "what is too large for one request is copied in parts",
  (server) => copiesInParts(server.config()),
);
