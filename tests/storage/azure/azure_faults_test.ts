/** The Azure backend against a server that misbehaves. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { createHash } from "node:crypto";
import type { AzureConfig } from "../../../src/config/config.ts";
import { type Backend, SLICE_BYTES } from "../../../src/storage/backend.ts";
import { openAzure } from "../../../src/storage/azure/azure_open.ts";
import { azureConfig } from "../azurite.ts";
import { fails, paths } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { IMPATIENT, PATIENT, withFaultServer } from "../fault_server.ts";

const PATH = textPath("a/b,v");
const LARGE = contentOf(someBytes(20 * 1024 * 1024));

/** Runs a test against a server that answers each request with `answer`. */
function withServer(
  answer: (request: Request, body: Uint8Array) => Response | Promise<Response>,
  test: (backend: Backend) => Promise<void>,
  changes: Partial<AzureConfig> = {},
  limits = PATIENT,
): Promise<void> {
  return withFaultServer(answer, (origin) => openAzure(azureConfig(origin, changes), limits), test);
}

function refusal(status: number, code: string, detail = "", headers: Record<string, string> = {}) {
  const body = `\ufeff<?xml version="1.0"?><Error><Code>${code}</Code><Message>m\nRequestId:1` +
    `</Message><AuthenticationErrorDetail>${detail || "d"}</AuthenticationErrorDetail></Error>`;
  return new Response(body, { status, headers: { "x-ms-error-code": code, ...headers } });
}

const put = (backend: Backend) => backend.put(PATH, contentOf(someBytes(10)), never);
const get = (backend: Backend) => backend.getRange(PATH, 0, 10, { signal: never });
const head = (backend: Backend) => backend.head(PATH, never);

for (
  const [status, code, kind] of [
    [404, "BlobNotFound", "absent"],
    [404, "ContainerNotFound", "denied"],
    [404, "ResourceNotFound", "denied"],
    [403, "AuthenticationFailed", "denied"],
    [403, "AuthorizationFailure", "denied"],
    [403, "AccountIsDisabled", "denied"],
    [401, "InvalidAuthenticationInfo", "denied"],
    [403, "InvalidAccountKey", "denied"],
    [409, "ContainerBeingDeleted", "denied"],
    [409, "BlobArchived", "denied"],
    [409, "BlobImmutableDueToPolicy", "denied"],
    [503, "ServerBusy", "throttled"],
    [429, "TooManyRequests", "throttled"],
    [500, "OperationTimedOut", "transient"],
    [500, "InternalError", "transient"],
    [400, "Md5Mismatch", "corrupt"],
    [412, "ConditionNotMet", "corrupt"],
    [400, "InvalidUri", "permanent"],
    [413, "RequestBodyTooLarge", "permanent"],
  ] as const
) {
  Deno.test(`azure: ${status} ${code} is ${kind}`, () =>
    withServer(() => refusal(status, code), async (backend) => {
      for (const call of [get, put, head]) {
        assertStringIncludes((await fails(kind, () => call(backend))).message, code);
      }
    }));
}

Deno.test("azure: what asks to slow down says for how long", () =>
  withServer(() => refusal(503, "ServerBusy", "", { "retry-after": "7" }), async (backend) => {
    for (const call of [put, get, head]) {
      assertEquals((await fails("throttled", () => call(backend))).options.retryAfterMs, 7000);
    }
  }));

Deno.test("azure: a 404 that is not Azure's own never means absent", () =>
  withServer(() => new Response("<html>Not Found</html>", { status: 404 }), async (backend) => {
    for (const call of [get, head, (b: Backend) => b.delete(PATH, never)]) {
      assertStringIncludes((await fails("denied", () => call(backend))).message, "endpoint");
    }
  }));

Deno.test("azure: a clock that is wrong is told in seconds", () => {
  const date = () => new Date(Date.now() + 3_600_000).toUTCString();
  return withServer(
    () => refusal(403, "AuthenticationFailed", "Request date header too old", { date: date() }),
    async (backend) => {
      const { message } = await fails("denied", () => put(backend));
      const [, seconds] = /clock is (\d+) seconds behind/.exec(message) ?? [];
      assertEquals(Math.abs(Number(seconds) - 3600) < 60, true, message);
    },
  );
});

Deno.test("azure: a missing right is told by its letter", () =>
  withServer(
    () => refusal(403, "AuthorizationPermissionMismatch"),
    async (backend) => {
      const lacking: [string, () => Promise<unknown>][] = [
        ["r", () => get(backend)],
        ["w", () => put(backend)],
        ["d", () => backend.delete(PATH, never)],
        ["l", () => paths(backend, "")],
      ];
      for (const [letter, call] of lacking) {
        assertStringIncludes((await fails("denied", call)).message, `sp=x and lacks ${letter}:`);
      }
    },
    { accountKey: null, sasToken: "sp=x&sig=s" },
  ));

Deno.test("azure: a condition that does not hold is a conflict, however it is said", async () => {
  const refusals = [[412, "ConditionNotMet"], [409, "BlobAlreadyExists"], [404, "BlobNotFound"]];
  for (const [status, code] of refusals as [number, string][]) {
    await withServer(() => refusal(status, code), async (backend) => {
      const content = contentOf(someBytes(10));
      for (const condition of [{ ifAbsent: true } as const, { ifMatch: '"e"' }]) {
        await fails("conflict", () => backend.put(PATH, content, never, condition));
      }
    });
  }
});

Deno.test("azure: a redirect is not followed", () =>
  withServer(
    () => new Response(null, { status: 307, headers: { location: "http://127.0.0.1:1/" } }),
    async (backend) => void await fails("transient", () => get(backend)),
  ));

Deno.test("azure: an answer that never comes is transient", async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => release = resolve);
  await withServer(
    async () => (await held, new Response()),
    async (backend) => {
      assertStringIncludes((await fails("transient", () => get(backend))).message, "no progress");
      release();
    },
    {},
    IMPATIENT,
  );
});

Deno.test("azure: a page with status 200 is not taken for a blob", () =>
  withServer(() => new Response("<html>sign in</html>"), async (backend) => {
    await fails("corrupt", () => get(backend));
    await fails("corrupt", () => put(backend));
    await fails("corrupt", () => head(backend));
    await fails("corrupt", () => backend.put(PATH, LARGE, never));
    await fails("transient", () => paths(backend, ""));
  }));

Deno.test("azure: another version than asked for is corrupt even if the server does not look", () => {
  const other = () =>
    new Response(someBytes(10), {
      status: 206,
      headers: { etag: '"new"', "content-range": "bytes 0-9/10" },
    });
  return withServer(other, async (backend) => {
    const call = () => backend.getRange(PATH, 0, 10, { ifMatch: '"old"', signal: never });
    await fails("corrupt", call);
  });
});

Deno.test("azure: a body stored with another MD5 than was sent is corrupt", () => {
  const answer = (_: Request, body: Uint8Array) => {
    const wrong = createHash("md5").update(body).update("x").digest("base64");
    return new Response(null, { status: 201, headers: { etag: '"e"', "content-md5": wrong } });
  };
  return withServer(answer, async (backend) => void await fails("corrupt", () => put(backend)));
});

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

Deno.test("azure: a pending copy is waited for, and ended with what it waits for", async () => {
  const statuses = ["pending", "pending", "success"];
  const seen: string[] = [];
  let copies = 0;
  const answer = (request: Request) => {
    const url = new URL(request.url);
    const copying = request.headers.has("x-ms-copy-source");
    seen.push(copying ? "copy" : request.headers.get("x-ms-copy-action") ?? request.method);
    const headers = { etag: '"e"', "content-length": "5", "x-ms-copy-id": "id" };
    if (url.pathname.endsWith("/from")) return new Response(null, { headers });
    const status = copying ? statuses[0]! : statuses[++copies] ?? "pending";
    return new Response(null, {
      status: request.method === "PUT" ? 202 : 200,
      headers: { ...headers, "x-ms-copy-status": status },
    });
  };
  await withServer(answer, async (backend) => {
    await backend.copy(textPath("from"), textPath("to"), never);
    assertEquals(seen, ["HEAD", "copy", "HEAD", "HEAD"]);
    seen.length = 0;
    const stopping = new AbortController();
    const copied = backend.copy(textPath("from"), textPath("to"), stopping.signal);
    while (!seen.includes("copy")) await new Promise((resolve) => setTimeout(resolve, 5));
    stopping.abort();
    await fails("transient", () => copied);
  });
  assertEquals(seen.at(-1), "abort");
});

Deno.test("azure: a copy that fails on the way is transient", () => {
  const answer = (request: Request) =>
    new Response(null, {
      status: request.method === "PUT" ? 202 : 200,
      headers: { etag: '"e"', "content-length": "5", "x-ms-copy-status": "failed" },
    });
  return withServer(answer, async (backend) => {
    const call = () => backend.copy(textPath("from"), textPath("to"), never);
    await fails("transient", call);
  });
});

/** One page of a listing. */
function page(names: readonly string[], next: string, more = ""): Response {
  const blobs = names.map((name) =>
    `<Blob><Name>depot/${name}</Name><Properties><Content-Length>1</Content-Length>` +
    `<Etag>0x1</Etag>${more}</Properties></Blob>`
  );
  return new Response(
    `\ufeff<?xml version="1.0"?><EnumerationResults><Blobs>${blobs.join("")}</Blobs>` +
      `<NextMarker>${next}</NextMarker></EnumerationResults>`,
  );
}

/** Pages by marker, for what is not escaped. */
function listing(pages: Readonly<Record<string, () => Response>>) {
  const markers: string[] = [];
  const answer = (request: Request) => {
    const { searchParams } = new URL(request.url);
    if (searchParams.get("prefix")!.includes(".p4cache/")) return page([], "");
    const marker = searchParams.get("marker") ?? "";
    markers.push(marker);
    return pages[marker]!();
  };
  return { markers, answer };
}

Deno.test("azure: a listing that failed goes on at the page it had come to", async () => {
  let failures = 1;
  const { markers, answer } = listing({
    "": () => page(["a", "b"], "1&amp;2"),
    "1&2": () => page(["c", "d"], "3"),
    "3": () => failures-- > 0 ? refusal(500, "InternalError") : page(["e"], ""),
  });
  await withServer(answer, async (backend) => {
    const found: string[] = [];
    await fails("transient", async () => {
      for await (const { path } of backend.list("", never)) found.push(path);
    });
    assertEquals(await paths(backend, "", found.at(-1)), ["e"]);
    assertEquals(markers, ["", "1&2", "3", "1&2", "3"]);
    // Another prefix, or an earlier place, begins anew.
    assertEquals(await paths(backend, "", "a"), ["b", "c", "d", "e"]);
    assertEquals(await paths(backend, "d"), ["d"]);
  });
});

Deno.test("azure: names beyond U+FFFF come in byte order, whichever order the service has", async () => {
  const names = ["a", "b/\ud83c\udf89", "b/\uff01", "b/z", "c"];
  const sorted = names.map(textPath).sort();
  for (const order of [[...names].sort(), ["a", "b/z", "b/\uff01", "b/\ud83c\udf89", "c"]]) {
    const { answer } = listing({
      "": () => page(order.slice(0, 3), "next"),
      next: () => page(order.slice(3), ""),
    });
    await withServer(answer, async (backend) => assertEquals(await paths(backend, ""), sorted));
  }
});

Deno.test("azure: names in another order are refused, never given as if sorted", () => {
  const { answer } = listing({ "": () => page(["a/b", "a!"], "") });
  return withServer(answer, async (backend) => {
    const { message } = await fails("permanent", () => paths(backend, ""));
    assertStringIncludes(message, "hierarchical namespace");
  });
});

Deno.test("azure: a directory of a hierarchical namespace is no object", async () => {
  const { answer } = listing({
    "": () => page(["a"], "", "<ResourceType>directory</ResourceType>"),
  });
  await withServer(answer, async (backend) => assertEquals(await paths(backend, ""), []));
  const directory = () =>
    new Response(null, {
      headers: { etag: '"e"', "content-length": "0", "x-ms-resource-type": "directory" },
    });
  await withServer(directory, async (backend) => void await fails("absent", () => head(backend)));
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
