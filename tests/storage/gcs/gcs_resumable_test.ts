/** Resumable uploads of the Google Cloud Storage backend when something fails on the way. @module */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { createHash } from "node:crypto";
import { SLICE_BYTES } from "../../../src/storage/backend.ts";
import { fails } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { refusal, type Seen, withServer } from "./gcs_faults.ts";

const PATH = textPath("large");
/** As the test's configuration says. */
const CHUNK_BYTES = SLICE_BYTES, CHUNKS_IN_FLIGHT = 4;
const SIZE = 2 * CHUNK_BYTES + 1000;
const BYTES = someBytes(SIZE);
const LARGE = contentOf(BYTES);
const MD5 = createHash("md5").update(BYTES).digest("base64");

/** A server that keeps to the protocol of resumable uploads. */
class Sessions {
  /** What was asked for, in order. */
  readonly seen: string[] = [];
  readonly #held = new Uint8Array(SIZE);
  #length = 0;
  #done = false;
  /** May answer instead; `keep` bytes of the chunk are taken nevertheless. */
  fault: (what: string, request: Seen) => { keep: number; answer: Response } | undefined = () =>
    undefined;

  readonly answer = (request: Seen): Response => {
    const { method, url, headers, body } = request;
    const range = headers.get("content-range");
    const what = method === "PUT" ? range! : method;
    this.seen.push(what);
    const fault = this.fault(what, request);
    if (method === "POST") {
      if (fault !== undefined) return fault.answer;
      // The host is another one, where nobody may send anything.
      const location = "https://elsewhere.invalid/upload?upload_id=id%2F1";
      return new Response(null, { headers: { location } });
    }
    assertEquals(url.searchParams.get("upload_id"), "id/1");
    if (method === "DELETE") return new Response(null, { status: 499 });
    const first = /^bytes (\d+)-\d+\/\d+$/.exec(range!)?.[1];
    if (first !== undefined) {
      assertEquals(Number(first), this.#length);
      const taken = body.subarray(0, fault?.keep ?? body.length);
      this.#held.set(taken, this.#length);
      this.#length += taken.length;
      if (this.#length === SIZE) {
        if (fault === undefined) assertEquals(headers.get("x-goog-hash"), `md5=${MD5}`);
        this.#done = true;
      }
    }
    if (fault !== undefined) return fault.answer;
    if (this.#done) {
      const md5Hash = createHash("md5").update(this.#held).digest("base64");
      return Response.json({ generation: "5", size: String(SIZE), md5Hash });
    }
    return new Response(null, {
      status: 308,
      headers: this.#length === 0 ? {} : { range: `bytes=0-${this.#length - 1}` },
    });
  };
}

const range = (from: number, end: number) => `bytes ${from}-${end - 1}/${SIZE}`;
const FIRST = range(0, CHUNK_BYTES), SECOND = range(CHUNK_BYTES, 2 * CHUNK_BYTES);
const LAST = range(2 * CHUNK_BYTES, SIZE), WHERE = `bytes */${SIZE}`;

/** Answers the first request that is `what` with the fault. */
function once(what: string, keep: number, answer: () => Response): Sessions["fault"] {
  let done = false;
  return (asked) => {
    if (asked !== what || done) return undefined;
    done = true;
    return { keep, answer: answer() };
  };
}

const unavailable = () => refusal(503, "backendError", "m", { "retry-after": "0" });

for (
  const [sentence, fault, expected] of [
    ["goes through in chunks", () => undefined, ["POST", FIRST, SECOND, LAST]],
    [
      "goes on where a chunk failed",
      once(SECOND, 0, unavailable),
      ["POST", FIRST, SECOND, WHERE, SECOND, LAST],
    ],
    [
      "sends only what of a chunk has not arrived",
      once(SECOND, 262_144, unavailable),
      ["POST", FIRST, SECOND, WHERE, range(CHUNK_BYTES + 262_144, 2 * CHUNK_BYTES), LAST],
    ],
    [
      "sends no chunk again that has arrived",
      once(FIRST, CHUNK_BYTES, unavailable),
      ["POST", FIRST, WHERE, SECOND, LAST],
    ],
    [
      "ends well when the last answer is lost",
      once(LAST, SIZE, unavailable),
      ["POST", FIRST, SECOND, LAST, WHERE],
    ],
    [
      "goes on where the server took less than was sent",
      once(
        FIRST,
        524_288,
        () => new Response(null, { status: 308, headers: { range: "bytes=0-524287" } }),
      ),
      ["POST", FIRST, range(524_288, CHUNK_BYTES), SECOND, LAST],
    ],
  ] as const
) {
  Deno.test(`gcs: a resumable upload ${sentence}`, async () => {
    const sessions = new Sessions();
    sessions.fault = fault;
    await withServer(sessions.answer, async (backend) => {
      assertEquals(await backend.put(PATH, LARGE, never), { etag: "5" });
    });
    assertEquals(sessions.seen, [...expected]);
  });
}

for (
  const [what, answer, kind] of [
    [SECOND, () => refusal(403, "forbidden"), "denied"],
    [SECOND, () => refusal(410, "gone"), "transient"],
    [LAST, () => refusal(412, "conditionNotMet"), "conflict"],
    [LAST, () => refusal(400, "invalid", "MD5 hash doesn't match calculated"), "corrupt"],
  ] as const
) {
  Deno.test(`gcs: a resumable upload that is ${kind} midway is cancelled`, async () => {
    const sessions = new Sessions();
    // A session that is gone is gone for questions, too.
    sessions.fault = (asked) =>
      asked === what || (asked === WHERE && kind === "transient")
        ? { keep: 0, answer: answer() }
        : undefined;
    await withServer(sessions.answer, async (backend) => {
      const condition = kind === "conflict" ? { ifAbsent: true } as const : undefined;
      await fails(kind, () => backend.put(PATH, LARGE, never, condition));
    });
    assertEquals(sessions.seen.at(-1), "DELETE");
  });
}

Deno.test("gcs: a session is asked for under the put's condition", async () => {
  const sessions = new Sessions();
  const asked: (string | null)[] = [];
  sessions.fault = (what, { url, body }) => {
    if (what !== "POST") return undefined;
    asked.push(url.searchParams.get("ifGenerationMatch"));
    assertStringIncludes(new TextDecoder().decode(body), LARGE.digest);
    return undefined;
  };
  await withServer(sessions.answer, async (backend) => {
    await backend.put(PATH, LARGE, never, { ifMatch: "41" });
  });
  assertEquals(asked, ["41"]);
});

Deno.test("gcs: large uploads at once hold a bounded number of chunks", async () => {
  let held = 0, most = 0;
  const server = (request: Seen) => {
    if (request.method === "POST") {
      return new Response(null, { headers: { location: "http://x/?upload_id=id" } });
    }
    held -= request.body.length;
    if (request.headers.get("content-range")!.startsWith(`bytes ${2 * CHUNK_BYTES}`)) {
      return Response.json({ generation: "5", size: String(SIZE), md5Hash: MD5 });
    }
    const end = /-(\d+)\//.exec(request.headers.get("content-range")!)![1];
    return new Response(null, { status: 308, headers: { range: `bytes=0-${end}` } });
  };
  await withServer(server, async (backend) => {
    const content = {
      ...LARGE,
      read: (offset: number, length: number) => {
        held += length;
        most = Math.max(most, held);
        return LARGE.read(offset, length);
      },
    };
    await Promise.all(
      Array.from({ length: 6 }, (_, i) => backend.put(textPath(`large${i}`), content, never)),
    );
  });
  assertEquals(held, 0);
  assert(most <= (CHUNKS_IN_FLIGHT + 1) * CHUNK_BYTES, `${most} bytes were held`);
});
