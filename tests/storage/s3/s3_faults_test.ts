/** The S3 backend against a server that misbehaves. @module */

import { assertAlmostEquals, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { S3Config } from "../../../src/config/config.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import { sliceDigest } from "../../../src/storage/content_digest.ts";
import { openS3 } from "../../../src/storage/s3/s3_open.ts";
import { fails, paths } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { IMPATIENT, PATIENT, withFaultServer } from "../fault_server.ts";
import { httpFaults } from "../http_faults.ts";
import { s3Config } from "../versitygw.ts";

const PATH = textPath("a/b,v");

/** Runs a test against a server that answers each request with `answer`. */
function withServer(
  answer: (request: Request) => Response | Promise<Response>,
  test: (backend: Backend) => Promise<void>,
  changes: Partial<S3Config> = {},
  limits = PATIENT,
): Promise<void> {
  return withFaultServer(answer, (origin) => openS3(s3Config(origin, changes), limits), test);
}

function refusal(status: number, code: string, more = "", headers: Record<string, string> = {}) {
  const body =
    `<?xml version="1.0"?>\n<Error><Code>${code}</Code><Message>m</Message>${more}</Error>`;
  return new Response(body, { status, headers });
}

const put = (backend: Backend) => backend.put(PATH, contentOf(someBytes(10)), never);
const get = (backend: Backend) => backend.getRange(PATH, 0, 10, { signal: never });

httpFaults("s3", 'ETag: "e"', (origin, limits) => openS3(s3Config(origin), limits));

Deno.test("s3: SlowDown is throttled, with the time the server asked for", () =>
  withServer(() => refusal(503, "SlowDown", "", { "retry-after": "7" }), async (backend) => {
    for (const call of [put, get]) {
      assertEquals((await fails("throttled", () => call(backend))).options.retryAfterMs, 7000);
    }
    await fails("throttled", () => backend.head(PATH, never));
  }));

for (
  const [status, code, kind] of [
    [500, "InternalError", "transient"],
    [400, "RequestTimeout", "transient"],
    [503, "ServiceUnavailable", "throttled"],
    [503, "SlowDown", "throttled"],
    [501, "NotImplemented", "permanent"],
    [429, "TooManyRequests", "throttled"],
    [409, "ConditionalRequestConflict", "transient"],
    [403, "AccessDenied", "denied"],
    [403, "InvalidAccessKeyId", "denied"],
    [403, "SignatureDoesNotMatch", "denied"],
    [403, "RequestTimeTooSkewed", "denied"],
    [400, "ExpiredToken", "denied"],
    [404, "NoSuchBucket", "denied"],
    [404, "NoSuchKey", "absent"],
    [400, "XAmzContentSHA256Mismatch", "corrupt"],
    [400, "EntityTooLarge", "permanent"],
    [412, "PreconditionFailed", "corrupt"],
  ] as const
) {
  Deno.test(`s3: ${status} ${code} is ${kind}`, () =>
    withServer(() => refusal(status, code), async (backend) => {
      assertStringIncludes((await fails(kind, () => get(backend))).message, code);
      if (code !== "NoSuchKey") await fails(kind, () => put(backend));
      if (status !== 412) await fails(kind, () => backend.head(PATH, never));
    }));
}

for (
  const [what, permission, call] of [
    ["reading", "s3:GetObject and s3:ListBucket", get],
    ["storing", "s3:PutObject", put],
    ["removing", "s3:DeleteObject", (backend: Backend) => backend.delete(PATH, never)],
    ["listing", "s3:ListBucket", (backend: Backend) => paths(backend, "")],
  ] as const
) {
  Deno.test(`s3: where ${what} is not allowed the missing permission is named`, () =>
    withServer(() => refusal(403, "AccessDenied"), async (backend) => {
      const { message } = await fails("denied", () => call(backend));
      assertStringIncludes(message, `give this key ${permission} on depot-bucket`);
    }));
}

Deno.test("s3: a clock that is wrong is told with its seconds", async () => {
  for (const [offsetS, side] of [[1000, "behind"], [-1000, "ahead of"]] as const) {
    const date = new Date(Date.now() + offsetS * 1000).toUTCString();
    await withServer(
      () => refusal(403, "RequestTimeTooSkewed", "", { date }),
      async (backend) => {
        const { message } = await fails("denied", () => get(backend));
        const [, seconds] = /clock, which is (\d+) seconds (?:behind|ahead of) the/.exec(message)!;
        assertAlmostEquals(Number(seconds), 1000, 60);
        assertStringIncludes(message, side);
      },
    );
  }
});

Deno.test("s3: a condition that does not hold is a conflict, also for a missing object", async () => {
  const conditional = (backend: Backend) =>
    backend.put(PATH, contentOf(someBytes(10)), never, { ifMatch: '"e"' });
  for (const [status, code] of [[412, "PreconditionFailed"], [404, "NoSuchKey"]] as const) {
    await withServer(
      () => refusal(status, code),
      async (backend) => void await fails("conflict", () => conditional(backend)),
    );
  }
});

Deno.test("s3: a copy that failed after its status, or of a source that changed, is transient", async () => {
  const source = { etag: '"e"', "content-length": "10" };
  const answers = [refusal(200, "InternalError"), refusal(412, "PreconditionFailed")];
  for (const answer of answers) {
    await withServer(
      (request) => request.method === "HEAD" ? new Response(null, { headers: source }) : answer,
      async (backend) => void await fails("transient", () => backend.copy(PATH, PATH, never)),
    );
  }
});

Deno.test("s3: a 404 that is not S3's own never means absent", () =>
  withServer(() => new Response("<html>Not Found</html>", { status: 404 }), async (backend) => {
    await fails("denied", () => get(backend));
    await fails("denied", () => backend.head(PATH, never));
    await fails("denied", () => backend.delete(PATH, never));
  }));

Deno.test("s3: a bucket elsewhere is denied with its region", async () => {
  await withServer(
    () => refusal(301, "PermanentRedirect", "", { "x-amz-bucket-region": "eu-west-1" }),
    async (backend) => {
      for (const call of [put, get]) {
        assertStringIncludes((await fails("denied", () => call(backend))).message, "eu-west-1");
      }
    },
  );
  await withServer(
    () => refusal(400, "AuthorizationHeaderMalformed", "<Region>ap-south-1</Region>"),
    async (backend) =>
      assertStringIncludes((await fails("denied", () => get(backend))).message, "ap-south-1"),
  );
});

Deno.test("s3: a body that stops is transient", async () => {
  const stalled = () =>
    new Response(
      new ReadableStream({ start: (stream) => stream.enqueue(someBytes(400_000)) }),
      { status: 206, headers: { etag: '"e"', "content-range": "bytes 0-999999/1000000" } },
    );
  await withServer(
    stalled,
    async (backend) => {
      const call = () => backend.getRange(PATH, 0, 1_000_000, { signal: never });
      assertStringIncludes((await fails("transient", call)).message, "no progress");
    },
    {},
    IMPATIENT,
  );
});

Deno.test("s3: a range that is not the one asked for is corrupt", async () => {
  for (const range of ["bytes 1-10/20", "bytes 0-8/20", "bytes 0-9/5", "bytes 0-9/*", "nonsense"]) {
    const wrong = () =>
      new Response(someBytes(10), {
        status: 206,
        headers: { etag: '"e"', "content-range": range },
      });
    await withServer(wrong, async (backend) => void await fails("corrupt", () => get(backend)));
  }
});

Deno.test("s3: a server that sends the whole object instead of a range", () => {
  const whole = () => new Response(someBytes(10), { headers: { etag: '"e"' } });
  return withServer(whole, async (backend) => {
    // Right where the whole object is what was asked for, refused where it is not.
    assertEquals((await get(backend)).bytes, someBytes(10));
    await fails("permanent", () => backend.getRange(PATH, 0, 5, { signal: never }));
    await fails("permanent", () => backend.getRange(PATH, 3, 10, { signal: never }));
  });
});

Deno.test("s3: another version than asked for is corrupt even if the server does not look", () => {
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

/** Answers uploads in parts; `fault` may answer instead. Says which parts were begun and aborted. */
function multipart(fault: (request: Request, url: URL) => Response | undefined) {
  const seen: string[] = [];
  const answer = (request: Request) => {
    const url = new URL(request.url);
    const part = url.searchParams.get("partNumber");
    seen.push(part === null ? request.method : `part ${part}`);
    const answer = fault(request, url);
    if (answer !== undefined) return answer;
    if (url.searchParams.has("uploads")) {
      return new Response(
        "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
      );
    }
    if (part !== null) return new Response(null, { headers: { etag: `"${part}"` } });
    if (request.method === "DELETE") return new Response(null, { status: 204 });
    return new Response(
      '<CompleteMultipartUploadResult><ETag>"e-3"</ETag></CompleteMultipartUploadResult>',
    );
  };
  return { seen, answer };
}

const LARGE = contentOf(someBytes(20 * 1024 * 1024));

Deno.test("s3: a part that fails once is sent again, alone", async () => {
  let failed = false;
  const { seen, answer } = multipart((request, url) => {
    if (request.method === "HEAD") {
      return new Response(null, {
        headers: {
          etag: '"e-3"',
          "content-length": String(LARGE.size),
          "x-amz-meta-p4cache-digest": LARGE.digest,
        },
      });
    }
    if (url.searchParams.get("partNumber") !== "2" || failed) return undefined;
    failed = true;
    return refusal(500, "InternalError");
  });
  await withServer(answer, async (backend) => {
    assertEquals(await backend.put(PATH, LARGE, never), { etag: '"e-3"' });
  });
  assertEquals(seen.filter((what) => what.startsWith("part")).sort(), [
    "part 1",
    "part 2",
    "part 2",
    "part 3",
  ]);
  assertEquals(seen.includes("DELETE"), false);
});

Deno.test("s3: a part that is refused ends the upload, and its parts are removed", async () => {
  const { seen, answer } = multipart((_, url) =>
    url.searchParams.get("partNumber") === "2" ? refusal(403, "AccessDenied") : undefined
  );
  await withServer(answer, async (backend) => {
    await fails("denied", () => backend.put(PATH, LARGE, never));
  });
  assertEquals(seen.at(-1), "DELETE");
});

Deno.test("s3: an error in the answer to the joining of parts is an error", async () => {
  const { seen, answer } = multipart((request, url) =>
    request.method === "POST" && url.searchParams.has("uploadId")
      ? refusal(200, "InternalError")
      : undefined
  );
  await withServer(answer, async (backend) => {
    const error = await fails("transient", () => backend.put(PATH, LARGE, never));
    assertStringIncludes(error.message, "InternalError");
  });
  assertEquals(seen.at(-1), "DELETE");
});

Deno.test("s3: parts that were joined to another size are corrupt", async () => {
  const { answer } = multipart((request) =>
    request.method === "HEAD"
      ? new Response(null, { headers: { etag: '"e-3"', "content-length": "5" } })
      : undefined
  );
  await withServer(answer, async (backend) => {
    await fails("corrupt", () => backend.put(PATH, LARGE, never));
  });
});

Deno.test("s3: an object that was joined to another than the answer said is corrupt", async () => {
  const { answer } = multipart((request) =>
    request.method === "HEAD"
      ? new Response(null, {
        headers: {
          etag: '"other-3"',
          "content-length": String(LARGE.size),
          "x-amz-meta-p4cache-digest": LARGE.digest,
        },
      })
      : undefined
  );
  await withServer(answer, async (backend) => {
    await fails("corrupt", () => backend.put(PATH, LARGE, never));
  });
});

Deno.test("s3: a checksum that is not that of the bytes sent is corrupt", async () => {
  for (
    const [checksum, isSame] of [
      [btoa("x".repeat(32)), false],
      [btoa(String.fromCharCode(...sliceDigest(someBytes(10)))), true],
    ] as const
  ) {
    const headers = { etag: '"e"', "x-amz-checksum-sha256": checksum };
    await withServer(() => new Response(null, { headers }), async (backend) => {
      if (isSame) assertEquals(await put(backend), { etag: '"e"' });
      else await fails("corrupt", () => put(backend));
    });
  }
});

Deno.test("s3: what is wanted of stored objects is asked for, and nothing else", async () => {
  const asked = async (changes: Partial<S3Config>) => {
    let headers = new Headers();
    await withServer(
      (request) => {
        headers = request.headers;
        return new Response(null, { headers: { etag: '"e"' } });
      },
      async (backend) => void await put(backend),
      changes,
    );
    return Object.fromEntries(
      [...headers].filter(([name]) =>
        /^x-amz-(server-side|storage|tagging|request-payer|acl)/.test(name)
      ),
    );
  };
  const sse = "x-amz-server-side-encryption";
  assertEquals(await asked({}), {});
  assertEquals(await asked({ serverSideEncryption: true }), { [sse]: "AES256" });
  assertEquals(await asked({ serverSideEncryption: true, sseKmsKeyId: "alias/k" }), {
    [sse]: "aws:kms",
    [`${sse}-aws-kms-key-id`]: "alias/k",
  });
  assertEquals(
    await asked({ storageClass: "STANDARD_IA", objectTags: "a=1&b=2", requesterPays: true }),
    {
      "x-amz-request-payer": "requester",
      "x-amz-storage-class": "STANDARD_IA",
      "x-amz-tagging": "a=1&b=2",
    },
  );
});
