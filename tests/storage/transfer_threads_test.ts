/** Slices that threads hash, send and receive: the right bytes, of one version, and no file used too long. @module */

import { assert, assertEquals, assertRejects } from "deno-std/assert/mod.js";
import { EBADF } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import { SLICE_BYTES } from "../../src/storage/backend.ts";
import { hex, sliceDigest } from "../../src/storage/content_digest.ts";
import {
  CopyFailed,
  FileFailed,
  OtherVersion,
  type WireOrder,
} from "../../src/storage/file_transfer.ts";
import { TransferThreads } from "../../src/storage/transfer_threads.ts";
import { never, someBytes } from "./contents.ts";
import { OpenFile } from "./open_file.ts";

const LIMITS = { headMs: 10_000, idleMs: 10_000, maxBytes: 2 * SLICE_BYTES };

/** A server that hands each request to the script, and notes what it got. */
function serve(script: (request: Request) => Promise<Response> | Response) {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, script);
  const origin = `http://127.0.0.1:${server.addr.port}`;
  const order = (method: string): WireOrder => ({
    server: { origin, caCerts: [] },
    request: { method, target: "/x", headers: [] },
    limits: LIMITS,
  });
  return { order, end: () => server.shutdown() };
}

async function failsForFile(call: () => Promise<unknown>): Promise<unknown> {
  return (await assertRejects(call, FileFailed)).cause;
}

Deno.test("slices are hashed on other threads, each answered with its own bytes", async () => {
  const threads = new TransferThreads();
  const sizes = [SLICE_BYTES, 3, SLICE_BYTES - 1, 0, SLICE_BYTES];
  const expected = sizes.map((size, i) => hex(sliceDigest(someBytes(size, i + 1).slice())));
  const hashed = await Promise.all(
    sizes.map((size, i) => threads.digest(someBytes(size, i + 1).slice())),
  );
  assertEquals(hashed.map(({ digest }) => hex(digest)), expected);
  for (const [i, { bytes }] of hashed.entries()) {
    assertEquals([bytes.length, hex(sliceDigest(bytes))], [sizes[i], expected[i]]);
  }
  threads.close();
});

Deno.test("a part of a larger buffer is hashed where it is", async () => {
  const threads = new TransferThreads();
  const whole = someBytes(SLICE_BYTES + 4);
  const part = whole.subarray(1);
  const { digest, bytes } = await threads.digest(part);
  assertEquals(hex(digest), hex(sliceDigest(part)));
  assertEquals(bytes.buffer, whole.buffer);
  assertEquals(whole.length, SLICE_BYTES + 4);
  threads.close();
});

Deno.test("P2: what is under way ends before its thread does, and others start when they are asked", async () => {
  const bytes = someBytes(SLICE_BYTES);
  using file = new OpenFile(bytes);
  const threads = new TransferThreads();
  const range = { ...file.version(), offset: 0, length: SLICE_BYTES };
  const underWay = threads.digestOf(range);
  threads.close();
  assertEquals(hex(await underWay), hex(sliceDigest(bytes)));
  threads.close();
  assertEquals(hex(await threads.digestOf(range)), hex(sliceDigest(bytes)));
  threads.close();
});

Deno.test("a range of a file is hashed, but not of another version of it", async () => {
  const bytes = someBytes(3 * SLICE_BYTES + 5);
  using file = new OpenFile(bytes);
  const threads = new TransferThreads();
  const range = { ...file.version(), offset: SLICE_BYTES, length: 2 * SLICE_BYTES + 5 };
  assertEquals(hex(await threads.digestOf(range)), hex(sliceDigest(bytes.subarray(SLICE_BYTES))));
  const otherTime = { ...range, mtimeNs: range.mtimeNs + 1n };
  assert(await failsForFile(() => threads.digestOf(otherTime)) instanceof OtherVersion);
  Deno.truncateSync(file.path, bytes.length - 1);
  assert(await failsForFile(() => threads.digestOf(range)) instanceof OtherVersion);
  const closed = { ...range, fd: 1_000_000 };
  assert(await failsForFile(() => threads.digestOf(closed)) instanceof FileError);
  threads.close();
});

Deno.test("a range of a file is the body that the server gets", async () => {
  const bytes = someBytes(2 * SLICE_BYTES);
  using file = new OpenFile(bytes);
  const got = new Map<string, string>();
  const server = serve(async (request) => {
    got.set(request.method, hex(sliceDigest(new Uint8Array(await request.arrayBuffer()))));
    return new Response("stored", { headers: { etag: "1" } });
  });
  const threads = new TransferThreads();
  const range = { ...file.version(), offset: 7, length: SLICE_BYTES };
  for (let i = 0; i < 3; i++) {
    const answer = await threads.send(server.order("PUT"), range, never);
    assertEquals([answer.status, answer.headers.get("etag")], [200, "1"]);
  }
  assertEquals(got.get("PUT"), hex(sliceDigest(bytes.subarray(7, 7 + SLICE_BYTES))));
  threads.close();
  await server.end();
});

Deno.test("P1: of a file that is another version at the end, no server gets a whole body", async () => {
  using file = new OpenFile(someBytes(SLICE_BYTES));
  const ends: string[] = [];
  const server = serve(async (request) => {
    await request.arrayBuffer().then(() => ends.push("whole"), () => ends.push("cut"));
    return new Response();
  });
  const threads = new TransferThreads();
  const version = file.version();
  const range = { ...version, offset: 0, length: SLICE_BYTES, mtimeNs: version.mtimeNs - 1n };
  const send = () => threads.send(server.order("PUT"), range, never);
  assert(await failsForFile(send) instanceof OtherVersion);
  while (ends.length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assertEquals(ends, ["cut"]);
  threads.close();
  await server.end();
});

Deno.test("a body goes into its place in the file, and its digest covers what is before it", async () => {
  const bytes = someBytes(SLICE_BYTES);
  using file = new OpenFile(new Uint8Array(2 * SLICE_BYTES));
  const head = bytes.subarray(0, 1000);
  file.write(head, 5000);
  const server = serve(() => new Response(bytes.subarray(1000), { status: 206 }));
  const threads = new TransferThreads();
  const into = { fd: file.fd, offset: 6000, length: bytes.length - 1000, digestFrom: 5000 };
  const { status, body, written } = await threads.receive(server.order("GET"), into, never);
  assertEquals([status, body.length, written?.length], [206, 0, bytes.length - 1000]);
  assertEquals(hex(written!.digest), hex(sliceDigest(bytes)));
  const after = file.read();
  assertEquals(
    hex(sliceDigest(after.subarray(5000, 5000 + bytes.length))),
    hex(sliceDigest(bytes)),
  );
  assert(after.subarray(5000 + bytes.length).every((byte) => byte === 0));
  threads.close();
  await server.end();
});

Deno.test("only the body that is wanted goes into the file", async () => {
  using file = new OpenFile(new Uint8Array(100));
  const answers = [
    new Response("no such thing", { status: 404 }),
    new Response("ten bytes!", { status: 200 }),
    new Response("eleven byte", { status: 206 }),
  ];
  const server = serve(() => answers.shift()!);
  const threads = new TransferThreads();
  const into = { fd: file.fd, offset: 0, length: 10, digestFrom: 0 };
  const order = server.order("GET");
  for (
    const [status, text] of [[404, "no such thing"], [200, "ten bytes!"], [206, "eleven byte"]]
  ) {
    const answer = await threads.receive(order, into, never);
    assertEquals([answer.status, answer.written], [status, null]);
    assertEquals(new TextDecoder().decode(answer.body), text);
  }
  assert(file.read().every((byte) => byte === 0));
  threads.close();
  await server.end();
});

Deno.test("a file that cannot be written is told as that, not as the server's failure", async () => {
  using file = new OpenFile(new Uint8Array(10));
  const server = serve(() => new Response("ten bytes!", { status: 206 }));
  const threads = new TransferThreads();
  const into = { fd: file.readOnlyFd(), offset: 0, length: 10, digestFrom: 0 };
  const cause = await failsForFile(() => threads.receive(server.order("GET"), into, never));
  assertEquals((cause as FileError).errno, EBADF);
  threads.close();
  await server.end();
});

Deno.test("a range of a file is copied to its place in another, and the digest covers what is before it", async () => {
  const bytes = someBytes(SLICE_BYTES + 5);
  using from = new OpenFile(bytes);
  using to = new OpenFile(new Uint8Array(2 * SLICE_BYTES));
  to.write(bytes.subarray(0, 1000), 0);
  const threads = new TransferThreads();
  const range = { ...from.version(), offset: 1000, length: SLICE_BYTES - 1000 };
  const into = { fd: to.fd, offset: 1000, length: SLICE_BYTES - 1000, digestFrom: 0 };
  const { length, digest } = await threads.copy(range, into);
  const slice = bytes.subarray(0, SLICE_BYTES);
  assertEquals([length, hex(digest)], [SLICE_BYTES - 1000, hex(sliceDigest(slice))]);
  const after = to.read();
  assertEquals(hex(sliceDigest(after.subarray(0, SLICE_BYTES))), hex(sliceDigest(slice)));
  assert(after.subarray(SLICE_BYTES).every((byte) => byte === 0));
  threads.close();
});

Deno.test("P2: of a file that is another version at the end, no whole range is copied; each end's failure is its own", async () => {
  using from = new OpenFile(someBytes(1_000_000));
  using to = new OpenFile(new Uint8Array(1_000_000));
  const threads = new TransferThreads();
  const failure = async (mtimeNs: bigint, fd: number) => {
    const range = { ...from.version(), offset: 0, length: 1_000_000, mtimeNs };
    const into = { fd, offset: 0, length: 1_000_000, digestFrom: 0 };
    return await assertRejects(() => threads.copy(range, into), CopyFailed);
  };
  const { mtimeNs } = from.version();
  const changed = await failure(mtimeNs - 1n, to.fd);
  assert(changed.end === "from" && changed.cause instanceof OtherVersion);
  assert(to.read().subarray(-1000).every((byte) => byte === 0));
  const unwritable = await failure(mtimeNs, to.readOnlyFd());
  assert(unwritable.end === "to" && (unwritable.cause as FileError).errno === EBADF);
  threads.close();
});

Deno.test("a call that is stopped has ended: nothing is written any more", async () => {
  using file = new OpenFile(new Uint8Array(SLICE_BYTES));
  const begun = Promise.withResolvers<void>();
  let go = () => {};
  const server = serve(() => {
    const stream = new ReadableStream({
      start(controller) {
        controller.enqueue(someBytes(1 << 20));
        begun.resolve();
        go = () => {
          try {
            controller.enqueue(someBytes(SLICE_BYTES - (1 << 20)));
            controller.close();
          } catch {
            // Nobody reads it any more.
          }
        };
      },
    });
    const headers = { "content-length": String(SLICE_BYTES) };
    return new Response(stream, { status: 206, headers });
  });
  const threads = new TransferThreads();
  const abort = new AbortController();
  const into = { fd: file.fd, offset: 0, length: SLICE_BYTES, digestFrom: 0 };
  const call = threads.receive(server.order("GET"), into, abort.signal);
  await begun.promise;
  while (file.read()[0] === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  abort.abort();
  await assertRejects(() => call);
  file.write(new Uint8Array(SLICE_BYTES), 0);
  go();
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert(file.read().every((byte) => byte === 0));
  threads.close();
  await server.end();
});
