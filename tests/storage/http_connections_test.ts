/**
 * The quick way to an HTTP server: framing of answers, reuse of connections, limits of time.
 *
 * @module
 */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import fc from "fast-check";
import {
  HttpConnections,
  NoProgress,
  type WireLimits,
} from "../../src/storage/http_connections.ts";
import { WireError } from "../../src/storage/http_wire.ts";

const LIMITS: WireLimits = { headMs: 5000, idleMs: 5000, maxBytes: 1 << 20 };
const GET = { method: "GET", target: "/a?b", headers: [], body: null };
const never = new AbortController().signal;
const bytes = (text: string) => new TextEncoder().encode(text);
const text = (body: Uint8Array) => new TextDecoder().decode(body);

/** Answers the n-th request of the c-th connection, both from 0; null ends the connection. */
type Script = (connection: number, request: number, head: string) => Uint8Array[] | null;

/** A server that answers by script, piece by piece, and counts connections. */
class ScriptedServer {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conns: Deno.Conn[] = [];
  readonly connections: HttpConnections;
  readonly requests: string[] = [];
  count = 0;

  constructor(script: Script) {
    const { port } = this.#listener.addr as Deno.NetAddr;
    this.connections = new HttpConnections(new URL(`http://127.0.0.1:${port}`), []);
    void (async () => {
      for await (const conn of this.#listener) {
        this.#conns.push(conn);
        void this.#serve(conn, this.count++, script).catch(() => {});
      }
    })();
  }

  async #serve(conn: Deno.Conn, connection: number, script: Script): Promise<void> {
    const buffer = new Uint8Array(1 << 20);
    for (let request = 0;; request++) {
      const n = await conn.read(buffer);
      if (n === null) return;
      const head = text(buffer.subarray(0, n));
      this.requests.push(head);
      const pieces = script(connection, request, head);
      if (pieces === null) return conn.close();
      for (const [i, piece] of pieces.entries()) {
        if (i > 0) await new Promise((resolve) => setTimeout(resolve, 1));
        await conn.write(piece);
      }
    }
  }

  [Symbol.dispose](): void {
    this.connections.close();
    this.#listener.close();
    for (const conn of this.#conns) {
      try {
        conn.close();
      } catch {
        // Closed by the script.
      }
    }
  }
}

const plain = (
  body: string,
) => [bytes(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n${body}`)];

Deno.test("bodies end by length or in chunks, however they are cut", async () => {
  const chunked = "HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n" +
    "5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nTrailer: 1\r\n\r\n";
  const answers: [string, number, string][] = [
    ["HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nhello world", 200, "hello world"],
    [chunked, 404, "hello world"],
    ["HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", 204, ""],
    ["HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, ""],
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...answers),
      fc.array(fc.nat(60), { maxLength: 3 }),
      async ([answer, status, body], cuts) => {
        const at = [0, ...cuts.map((cut) => Math.min(cut, answer.length)).sort((a, b) => a - b)];
        const pieces = at.map((begin, i) => bytes(answer.slice(begin, at[i + 1]))).filter((p) =>
          p.length
        );
        using server = new ScriptedServer(() => pieces);
        const got = await server.connections.send(GET, LIMITS, never);
        assertEquals([got.status, text(got.body), got.keepAlive], [status, body, true]);
      },
    ),
    { numRuns: 40 },
  );
});

Deno.test("a body without length ends with the connection, which is not used again", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  void (async () => {
    for await (const conn of listener) {
      await conn.read(new Uint8Array(1000));
      await conn.write(bytes("HTTP/1.1 200 OK\r\n\r\nall "));
      await conn.write(bytes("of it"));
      conn.close();
    }
  })();
  const { port } = listener.addr as Deno.NetAddr;
  const connections = new HttpConnections(new URL(`http://127.0.0.1:${port}`), []);
  const { body, keepAlive } = await connections.send(GET, LIMITS, never);
  assertEquals([text(body), keepAlive], ["all of it", false]);
  connections.close();
});

Deno.test("an answer to HEAD has no body, whatever its length says", async () => {
  using server = new ScriptedServer(() => [bytes("HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n")]);
  const { status, headers, body } = await server.connections.send(
    { ...GET, method: "HEAD" },
    LIMITS,
    never,
  );
  assertEquals([status, headers.get("content-length"), body.length], [200, "77", 0]);
});

Deno.test("the request is one the server understands, and a connection serves many", async () => {
  using server = new ScriptedServer((_c, n) => plain(String(n)));
  const put = {
    method: "PUT",
    target: "/x",
    headers: [["etag", "1"]] as [string, string][],
    body: bytes("content"),
  };
  for (let i = 0; i < 3; i++) {
    assertEquals(text((await server.connections.send(put, LIMITS, never)).body), String(i));
  }
  assertEquals(server.count, 1);
  const host = server.connections.origin.replace("http://", "");
  assertEquals(
    server.requests[0],
    `PUT /x HTTP/1.1\r\nhost: ${host}\r\nuser-agent: p4-cache\r\netag: 1\r\ncontent-length: 7\r\n\r\ncontent`,
  );
});

Deno.test("answers of requests side by side do not mix", async () => {
  using server = new ScriptedServer((_c, _n, head) => plain(/GET (\S+)/.exec(head)![1]!));
  const targets = Array.from({ length: 50 }, (_, i) => `/${i}`);
  const answers = await Promise.all(
    targets.map((target) => server.connections.send({ ...GET, target }, LIMITS, never)),
  );
  assertEquals(answers.map(({ body }) => text(body)), targets);
});

Deno.test("a kept connection that the server has ended is replaced, and the request sent again", async () => {
  using server = new ScriptedServer((c, n) => c === 0 && n === 1 ? null : plain(`${c}.${n}`));
  const answers = [];
  for (let i = 0; i < 3; i++) {
    answers.push(text((await server.connections.send(GET, LIMITS, never)).body));
  }
  assertEquals(answers, ["0.0", "1.0", "1.1"]);
});

Deno.test("an answer that was cut is an error, never a shorter answer", async () => {
  for (
    const cut of [
      "HTTP/1.1 200 OK\r\nContent-Le",
      "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
    ]
  ) {
    const conns: Deno.Conn[] = [];
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    void (async () => {
      for await (const conn of listener) {
        conns.push(conn);
        await conn.read(new Uint8Array(1000));
        await conn.write(bytes(cut));
        conn.close();
      }
    })();
    const { port } = listener.addr as Deno.NetAddr;
    const connections = new HttpConnections(new URL(`http://127.0.0.1:${port}`), []);
    await assertRejects(() => connections.send(GET, LIMITS, never), Deno.errors.UnexpectedEof);
    assertEquals(conns.length, 1);
    connections.close();
  }
});

Deno.test("what is not HTTP, or too long, is refused", async () => {
  const wrong = [
    "SSH-2.0-OpenSSH\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\ntoo long\r\n",
    "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    "HTTP/1.1 200 OK\r\na: " + "x".repeat(100_000),
  ];
  for (const answer of wrong) {
    using server = new ScriptedServer(() => [bytes(answer)]);
    await assertRejects(() => server.connections.send(GET, LIMITS, never), WireError);
  }
});

Deno.test("silence ends a request in time, and an aborted signal at once", async () => {
  using server = new ScriptedServer(() => []);
  const short = { ...LIMITS, headMs: 100 };
  await assertRejects(() => server.connections.send(GET, short, never), NoProgress);
  const abort = new AbortController();
  const sending = server.connections.send(GET, LIMITS, abort.signal);
  setTimeout(() => abort.abort(), 10);
  await assertRejects(() => sending);
});

Deno.test("a server that never reads ends a request in time", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const connections = new HttpConnections(new URL(`http://127.0.0.1:${port}`), []);
  const sending = Array.from({ length: 2 }, () => {
    const put = { ...GET, method: "PUT", body: new Uint8Array(256 * 1024) };
    return assertRejects(
      () => connections.send(put, { ...LIMITS, headMs: 200 }, never),
      NoProgress,
    );
  });
  await Promise.all(sending);
  connections.close();
});

Deno.test("no header can smuggle another one in", async () => {
  using server = new ScriptedServer(() => plain(""));
  for (const value of ["a\r\nx: y", "a\nb", "ü", "\0"]) {
    const request = { ...GET, headers: [["a", value]] as [string, string][] };
    await assertRejects(() => server.connections.send(request, LIMITS, never), TypeError);
  }
  assertEquals(server.requests, []);
});

Deno.test("an answer that comes before the whole body was taken is the answer", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const connections = new HttpConnections(new URL(`http://127.0.0.1:${port}`), []);
  const put = { ...GET, method: "PUT", body: new Uint8Array(32 * 1024 * 1024) };
  const sending = connections.send(put, LIMITS, never);
  const conn = await listener.accept();
  await conn.read(new Uint8Array(4096));
  await conn.write(new TextEncoder().encode("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno"));
  const { status, body } = await sending;
  assertEquals([status, new TextDecoder().decode(body)], [403, "no"]);
  conn.close();
  connections.close();
});

Deno.test("a large body arrives whole, and the connection is used again", async () => {
  const sizes: number[] = [];
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    async (request, { remoteAddr }) => {
      sizes.push((await request.arrayBuffer()).byteLength);
      return new Response(String((remoteAddr as Deno.NetAddr).port));
    },
  );
  const connections = new HttpConnections(new URL(`http://127.0.0.1:${server.addr.port}`), []);
  const put = { ...GET, method: "PUT", body: new Uint8Array(9_000_000) };
  const ports = [];
  for (let i = 0; i < 2; i++) {
    const { body } = await connections.send(put, LIMITS, never);
    ports.push(new TextDecoder().decode(body));
  }
  assertEquals(sizes, [9_000_000, 9_000_000]);
  assertEquals(ports[0], ports[1]);
  connections.close();
  stop.abort();
  await server.finished;
});

Deno.test("what must not be sent twice is left to others", () => {
  const connections = new HttpConnections(new URL("http://127.0.0.1:1"), []);
  const headers: [string, string][] = [["if-none-match", "*"]];
  assertEquals(connections.takes({ method: "GET", headers }), true);
  assertEquals(connections.takes({ method: "PUT", headers }), false);
  assertEquals(connections.takes({ method: "PUT", headers: [] }), true);
  assertEquals(connections.takes({ method: "POST", headers: [] }), false);
  connections.close();
});
