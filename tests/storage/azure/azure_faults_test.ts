/** The Azure backend against a server that misbehaves. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { createHash } from "node:crypto";
import { openAzure } from "../../../src/storage/azure/azure_open.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import { azureConfig } from "../azurite.ts";
import { fails, paths } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { httpFaults } from "../http_faults.ts";
import { refusal, withServer } from "./azure_faults.ts";

const PATH = textPath("a/b,v");
const LARGE = contentOf(someBytes(20 * 1024 * 1024));

const put = (backend: Backend) => backend.put(PATH, contentOf(someBytes(10)), never);
const get = (backend: Backend) => backend.getRange(PATH, 0, 10, { signal: never });
const head = (backend: Backend) => backend.head(PATH, never);

httpFaults("azure", 'ETag: "e"', (origin, limits) => openAzure(azureConfig(origin), limits));

Deno.test("azure: a page with status 200 is not taken for a block that was staged", () =>
  withServer(
    () => new Response("<html>sign in</html>"),
    async (backend) => void await fails("corrupt", () => backend.put(PATH, LARGE, never)),
  ));

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
