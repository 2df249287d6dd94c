/** Uploads in blocks to a server that misbehaves. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { createHash } from "node:crypto";
import { SLICE_BYTES } from "../../../src/storage/backend.ts";
import { fails } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { refusal, withServer } from "./azure_faults.ts";

const PATH = textPath("a/b,v");
const LARGE = contentOf(someBytes(20 * 1024 * 1024));

/** Answers uploads in blocks; `fault` may answer instead. Notes what was asked, in order. */
function blocks(fault: (request: Request, url: URL, block: number) => Response | undefined) {
  const seen: string[] = [];
  const ids: string[] = [];
  const answer = (request: Request, body: Uint8Array) => {
    const url = new URL(request.url);
    const id = url.searchParams.get("blockid");
    const block = id === null ? 0 : parseInt(atob(id).slice(-6), 16) + 1;
    seen.push(id === null ? url.searchParams.get("comp") ?? request.method : `block ${block}`);
    if (id !== null && !ids.includes(id)) ids.push(id);
    const answer = fault(request, url, block);
    if (answer !== undefined) return answer;
    if (request.method === "PUT") {
      const sent = request.headers.get("content-md5");
      assertEquals(createHash("md5").update(body).digest("base64"), sent);
      return new Response(null, { status: 201, headers: { etag: '"e"' } });
    }
    return new Response(null, {
      headers: {
        etag: '"e"',
        "content-length": String(LARGE.size),
        "x-ms-meta-p4cache_digest": LARGE.digest,
      },
    });
  };
  return { seen, ids, answer };
}

Deno.test("azure: a block that fails once is sent again, alone", async () => {
  let failed = false;
  const { seen, ids, answer } = blocks((_request, _url, block) => {
    if (block !== 2 || failed) return undefined;
    failed = true;
    return refusal(500, "InternalError");
  });
  await withServer(answer, async (backend) => {
    assertEquals(await backend.put(PATH, LARGE, never), { etag: '"e"' });
  });
  assertEquals(seen.filter((what) => what.startsWith("block ")).sort(), [
    "block 1",
    "block 2",
    "block 2",
    "block 3",
  ]);
  assertEquals(seen.slice(-2), ["blocklist", "HEAD"]);
  assertEquals(new Set(ids.map((id) => id.length)).size, 1);
});

Deno.test("azure: a block that is refused ends the upload, and nothing is committed", async () => {
  const { seen, answer } = blocks((_request, _url, block) =>
    block === 2 ? refusal(403, "AuthorizationFailure") : undefined
  );
  await withServer(answer, async (backend) => {
    await fails("denied", () => backend.put(PATH, LARGE, never));
  });
  assertEquals(seen.includes("blocklist"), false);
});

Deno.test("azure: blocks that another upload has dropped are sent again", async () => {
  const { answer } = blocks((_, url) =>
    url.searchParams.get("comp") === "blocklist" ? refusal(400, "InvalidBlockList") : undefined
  );
  await withServer(answer, async (backend) => {
    await fails("transient", () => backend.put(PATH, LARGE, never));
  });
});

Deno.test("azure: a blob that has another size after committing is corrupt", async () => {
  const { answer } = blocks((request) =>
    request.method === "HEAD"
      ? new Response(null, { headers: { etag: '"e"', "content-length": "5" } })
      : undefined
  );
  await withServer(answer, async (backend) => {
    await fails("corrupt", () => backend.put(PATH, LARGE, never));
  });
});

Deno.test("azure: parts are as large as they are asked to be", async () => {
  const { seen, answer } = blocks(() => undefined);
  await withServer(answer, async (backend) => void await backend.put(PATH, LARGE, never), {
    partSizeMib: 16,
  });
  assertEquals(seen.filter((what) => what.startsWith("block ")).sort(), ["block 1", "block 2"]);
  seen.length = 0;
  const whole = (request: Request, body: Uint8Array) => {
    seen.push(`${request.method} ${body.length}`);
    return new Response(null, { status: 201, headers: { etag: '"e"' } });
  };
  await withServer(whole, async (backend) => void await backend.put(PATH, LARGE, never), {
    multipartThresholdMib: 32,
  });
  assertEquals(seen, [`PUT ${LARGE.size}`]);
});

Deno.test("azure: an object of many gigabytes is held in few blocks at a time", async () => {
  const size = 40 * SLICE_BYTES;
  const slice = someBytes(SLICE_BYTES);
  let held = 0, most = 0;
  const content = {
    ...contentOf(someBytes(10)),
    size,
    read: () => (most = Math.max(most, ++held), slice),
  };
  const answer = (request: Request) => {
    if (request.method === "PUT") {
      if (request.url.includes("blockid")) held--;
      return new Response(null, { status: 201, headers: { etag: '"e"' } });
    }
    return new Response(null, {
      headers: {
        etag: '"e"',
        "content-length": String(size),
        "x-ms-meta-p4cache_digest": content.digest,
      },
    });
  };
  await withServer(answer, async (backend) => {
    await Promise.all(
      [PATH, textPath("2"), textPath("3")].map((path) => backend.put(path, content, never)),
    );
  });
  assertEquals(most <= 6, true, `${most} blocks were held`);
});
