/** The Google Cloud Storage backend against a server that misbehaves. @module */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { createHash } from "node:crypto";
import type { Backend } from "../../../src/storage/backend.ts";
import { openGcs } from "../../../src/storage/gcs/gcs_open.ts";
import { fails, paths } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { gcsConfig } from "../fake_gcs.ts";
import { httpFaults } from "../http_faults.ts";
import { objectHeaders, refusal, type Seen, withServer } from "./gcs_faults.ts";

const PATH = textPath("a/b,v");
const MISSING = "No such object: depot-bucket/depot/a/b,v";

const put = (backend: Backend) => backend.put(PATH, contentOf(someBytes(10)), never);
const get = (backend: Backend) => backend.getRange(PATH, 0, 10, { signal: never });
const head = (backend: Backend) => backend.head(PATH, never);
const list = (backend: Backend) => paths(backend, "");
const remove = (backend: Backend) => backend.delete(PATH, never);

httpFaults("gcs", "x-goog-generation: 1", (origin, limits) => openGcs(gcsConfig(origin), limits));

Deno.test("gcs: too many requests is throttled, with the time the server asked for", async () => {
  for (const status of [429, 503]) {
    const answer = () => refusal(status, "rateLimitExceeded", "m", { "retry-after": "7" });
    await withServer(answer, async (backend) => {
      for (const call of [put, get, head, list]) {
        assertEquals((await fails("throttled", () => call(backend))).options.retryAfterMs, 7000);
      }
    });
  }
});

for (
  const [status, reason, message, kind] of [
    [500, "backendError", "m", "transient"],
    [502, "", "m", "transient"],
    [408, "", "m", "transient"],
    [403, "rateLimitExceeded", "m", "throttled"],
    [403, "forbidden", "m", "denied"],
    [401, "required", "Anonymous caller does not have access", "denied"],
    [404, "notFound", "The specified bucket does not exist.", "denied"],
    [404, "notFound", MISSING, "absent"],
    [400, "required", "Bucket is a requester pays bucket but no user project provided.", "denied"],
    [400, "invalid", `Provided MD5 hash "a" doesn't match calculated MD5 hash "b".`, "corrupt"],
    [400, "invalid", "Invalid argument.", "permanent"],
    [412, "conditionNotMet", "m", "corrupt"],
  ] as const
) {
  Deno.test(`gcs: ${status} ${reason} "${message}" is ${kind}`, () =>
    withServer(() => refusal(status, reason, message), async (backend) => {
      for (const call of [get, head, put]) {
        assertStringIncludes((await fails(kind, () => call(backend))).message, message);
      }
    }));
}

Deno.test("gcs: the codes of the XML API are understood", async () => {
  const document = (status: number, code: string) => () =>
    new Response(
      `<?xml version='1.0'?><Error><Code>${code}</Code><Message>m</Message></Error>`,
      { status },
    );
  for (
    const [status, code, kind] of [
      [404, "NoSuchKey", "absent"],
      [404, "NoSuchBucket", "denied"],
      [403, "AccessDenied", "denied"],
      [400, "UserProjectMissing", "denied"],
      [400, "BadDigest", "corrupt"],
      [503, "SlowDown", "throttled"],
    ] as const
  ) {
    await withServer(document(status, code), async (backend) => {
      assertStringIncludes((await fails(kind, () => get(backend))).message, code);
    });
  }
});

Deno.test("gcs: a refusal names the permission that is missing", async () => {
  await withServer(() => refusal(403, "forbidden", "no"), async (backend) => {
    for (
      const [call, permission] of [
        [put, "storage.objects.create"],
        [get, "storage.objects.get"],
        [head, "storage.objects.get"],
        [remove, "storage.objects.delete"],
        [list, "storage.objects.list"],
      ] as const
    ) assertStringIncludes((await fails("denied", () => call(backend))).message, permission);
  });
  // To replace an object needs more than to store one; Google says so.
  const message = "sa@p.iam does not have storage.objects.delete access to the object.";
  await withServer(() => refusal(403, "forbidden", message), async (backend) => {
    const { message } = await fails("denied", () => put(backend));
    assertStringIncludes(message, "give the account storage.objects.delete");
  });
});

Deno.test("gcs: a 404 that is not Cloud Storage's own never means absent", () =>
  withServer(() => new Response("<html>Not Found</html>", { status: 404 }), async (backend) => {
    for (const call of [get, head, remove, put]) await fails("denied", () => call(backend));
  }));

Deno.test("gcs: where a 404 does not say what is missing, the listing does", async () => {
  const answerWith = (items: unknown[]) => ({ url }: Seen) =>
    url.pathname.endsWith("/o")
      ? Response.json({ kind: "storage#objects", items })
      : new Response("Not Found", { status: 404 });
  await withServer(answerWith([]), async (backend) => {
    for (const call of [get, head]) await fails("absent", () => call(backend));
    await remove(backend);
  });
  const listed = { name: "depot/a/b,v", size: "10", generation: "1" };
  await withServer(answerWith([listed]), async (backend) => {
    for (const call of [get, head, remove]) await fails("denied", () => call(backend));
  });
  const longer = { ...listed, name: "depot/a/b,v2" };
  await withServer(answerWith([longer]), async (backend) => {
    await fails("absent", () => get(backend));
  });
});

Deno.test("gcs: a range that is not the one asked for is corrupt", async () => {
  for (const range of ["bytes 1-10/20", "bytes 0-8/20", "bytes 0-9/5", "bytes 0-9/*", "nonsense"]) {
    const headers = objectHeaders({ "content-range": range });
    const wrong = () => new Response(someBytes(10), { status: 206, headers });
    await withServer(wrong, async (backend) => void await fails("corrupt", () => get(backend)));
  }
});

Deno.test("gcs: another version than asked for is corrupt even if the server does not look", () => {
  const headers = objectHeaders({ "content-range": "bytes 0-9/10" });
  return withServer(({ headers: asked }) => {
    assertEquals(asked.get("x-goog-if-generation-match"), "2");
    return new Response(someBytes(10), { status: 206, headers });
  }, async (backend) => {
    const call = () => backend.getRange(PATH, 0, 10, { ifMatch: "2", signal: never });
    await fails("corrupt", call);
  });
});

Deno.test("gcs: an object that did not change is not sent again", async () => {
  const seen: string[] = [];
  await withServer(({ url }) => {
    seen.push(`${url.pathname} ${url.searchParams.get("ifGenerationNotMatch")}`);
    return new Response(null, { status: 304 });
  }, async (backend) => {
    assertEquals(await backend.getIfChanged(PATH, "7", 1_000_000, never), null);
    await fails("transient", () => head(backend));
  });
  assertEquals(seen[0], "/storage/v1/b/depot-bucket/o/depot%2Fa%2Fb%2Cv 7");
});

Deno.test("gcs: the bytes of a foreign object are compared with the MD5 that is known", async () => {
  const bytes = someBytes(10);
  for (const same of [true, false]) {
    const md5 = createHash("md5").update(same ? bytes : "other").digest("base64");
    const headers = objectHeaders({
      "content-range": "bytes 0-9/10",
      "x-goog-hash": `crc32c=AAAAAA==, md5=${md5}`,
    });
    await withServer(() => new Response(bytes, { status: 206, headers }), async (backend) => {
      if (same) assertEquals((await get(backend)).bytes, bytes);
      else await fails("corrupt", () => get(backend));
    });
  }
});

Deno.test("gcs: what was stored otherwise than it was sent is removed, and corrupt", async () => {
  const seen: string[] = [];
  await withServer(({ method, url }) => {
    seen.push(`${method} ${url.searchParams.get("generation") ?? ""}`);
    if (method === "DELETE") return new Response(null, { status: 204 });
    return Response.json({ generation: "7", size: "10", md5Hash: "AAAAAAAAAAAAAAAAAAAAAA==" });
  }, async (backend) => void await fails("corrupt", () => put(backend)));
  assertEquals(seen, ["POST ", "DELETE 7"]);
});

Deno.test("gcs: content that is not what was hashed is never sent", async () => {
  let asked = 0;
  await withServer(() => (asked++, new Response()), async (backend) => {
    const content = { ...contentOf(someBytes(10)), read: () => someBytes(10, 2) };
    await fails("permanent", () => backend.put(PATH, content, never));
  });
  assertEquals(asked, 0);
});

Deno.test("gcs: who pays, storage class and key are sent where they are set", async () => {
  let seen: Seen | null = null;
  const bytes = someBytes(10);
  const md5Hash = createHash("md5").update(bytes).digest("base64");
  const answer = (request: Seen) => {
    seen = request;
    return Response.json({ generation: "7", size: "10", md5Hash });
  };
  const sent = () => new TextDecoder().decode(seen!.body);
  await withServer(answer, async (backend) => void await put(backend));
  assertEquals(seen!.headers.get("x-goog-user-project"), null);
  assertEquals(seen!.headers.get("authorization"), null);
  assert(!sent().includes("storageClass"));
  const kmsKey = "projects/p/locations/l/keyRings/r/cryptoKeys/k";
  const changes = { userProject: "payer", storageClass: "NEARLINE", kmsKey };
  await withServer(answer, async (backend) => void await put(backend), changes);
  assertEquals(seen!.headers.get("x-goog-user-project"), "payer");
  assertEquals(seen!.url.searchParams.get("kmsKeyName"), kmsKey);
  assertStringIncludes(sent(), '"storageClass":"NEARLINE"');
});

Deno.test("gcs: a copy goes on until all of it is made, and not for ever", async () => {
  const source = { generation: "1", size: "100", metadata: {} };
  const tokens: (string | null)[] = [];
  const copying = (steps: number) => ({ method, url }: Seen) => {
    if (method === "GET") return Response.json(source);
    tokens.push(url.searchParams.get("rewriteToken"));
    assertEquals(url.searchParams.get("ifSourceGenerationMatch"), "1");
    const made = tokens.length;
    return made === steps
      ? Response.json({ done: true, resource: { generation: "9", size: "100" } })
      : Response.json({ done: false, rewriteToken: `t ${made}`, totalBytesRewritten: "10" });
  };
  await withServer(copying(3), async (backend) => {
    assertEquals(await backend.copy(PATH, textPath("to"), never), { etag: "9" });
  });
  assertEquals(tokens, [null, "t 1", "t 2"]);
  await withServer(copying(-1), async (backend) => {
    await fails("transient", () => backend.copy(PATH, textPath("to"), never));
  });
  const changed = ({ method }: Seen) =>
    method === "GET" ? Response.json(source) : refusal(412, "conditionNotMet");
  await withServer(changed, async (backend) => {
    await fails("transient", () => backend.copy(PATH, textPath("to"), never));
  });
});
