/**
 * A peer as storage: the promises about reading, and that nobody without the token gets a byte.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { PeerReaders } from "../../src/cluster/peer_readers.ts";
import { type PeerObjects, type PeerResult, PeerServer } from "../../src/server/peer_server.ts";
import { type Backend, SLICE_BYTES, StorageError } from "../../src/storage/backend.ts";
import { RESERVED_KEYS } from "../../src/storage/object_keys.ts";
import { PeerBackend } from "../../src/storage/peer/peer_backend.ts";
import { PEER_HEADER } from "../../src/storage/peer/peer_protocol.ts";
import { RateGate } from "../../src/storage/rate_gate.ts";
import { makeCertificates, openssl } from "./certificates.ts";
import { conformance, fails } from "./conformance.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { MemoryBackend } from "./memory_backend.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";
const PATH = textPath("main/a.c,v");

const missing = await openssl("/", "version") ? null : "no openssl";
const certificates = Deno.makeTempDirSync({ prefix: "p4cache-peer-" });
if (missing === null) await makeCertificates(certificates);
globalThis.addEventListener("unload", () => Deno.removeSync(certificates, { recursive: true }));

/** What is in memory, as a depot. */
function objectsOf(memory: MemoryBackend): PeerObjects {
  return {
    open: async (path) => {
      const info = await memory.head(path, never);
      return {
        info,
        read: async (offset, length) => {
          const options = { ifMatch: info.etag, signal: never };
          return (await memory.getRange(path, offset, length, options)).bytes;
        },
        close: () => {},
      };
    },
    head: (path) => memory.head(path, never),
    list: (prefix, after) => memory.list(prefix, never, after),
  };
}

/** A server, and what it counted. */
class Site {
  readonly memory = new MemoryBackend();
  readonly results: PeerResult[] = [];
  token = TOKEN;
  readonly readers = new PeerReaders("here", () => performance.now());
  rate = Infinity;
  readonly server = new PeerServer(
    { kind: "tcp", host: "127.0.0.1", port: 0 },
    {
      cert: Deno.readTextFileSync(`${certificates}/leaf.pem`),
      key: Deno.readTextFileSync(`${certificates}/leaf.key`),
    },
    {
      objects: objectsOf(this.memory),
      token: () => this.token,
      admits: (readers) => this.readers.admits(readers),
      // Nobody who has to wait is let in later: that is the gate's own matter.
      gate: new RateGate(() => this.rate, { nowMs: () => performance.now(), after: () => {} }),
      waitMs: 50,
      onResult: (result) => this.results.push(result),
      onError: () => {},
    },
  );

  get endpoint(): string {
    return `https://127.0.0.1:${this.server.port}`;
  }

  backend(token = TOKEN, readers: PeerReaders | null = null): Promise<PeerBackend> {
    return PeerBackend.open({
      endpoint: this.endpoint,
      token: () => token,
      readers: readers === null ? null : () => readers.text,
      caCertPath: `${certificates}/ca.pem`,
      clientCertPath: null,
      clientKeyPath: null,
      idleTimeoutSeconds: 10,
    });
  }

  /** Any request, with the token unless another one is given. */
  async ask(
    page: string,
    init: RequestInit = {},
    token: string | null = TOKEN,
  ): Promise<{ status: number; body: string; headers: Headers }> {
    using client = Deno.createHttpClient({
      caCerts: [Deno.readTextFileSync(`${certificates}/ca.pem`)],
    });
    const headers = new Headers(init.headers);
    if (token !== null) headers.set("authorization", token);
    const response = await fetch(this.endpoint + page, { ...init, headers, client });
    return { status: response.status, body: await response.text(), headers: response.headers };
  }
}

/** Reads go to the peer; writes, and our own objects, to what it serves. */
function readThrough(memory: MemoryBackend, peer: Backend): Backend {
  const at = (path: string) => path.startsWith(RESERVED_KEYS) ? memory : peer;
  return {
    label: peer.label,
    put: (...given) => memory.put(...given),
    copy: (from, to, signal) => memory.copy(from, to, signal),
    delete: (...given) => memory.delete(...given),
    getRange: (path, ...given) => at(path).getRange(path, ...given),
    getIfChanged: (path, ...given) => at(path).getIfChanged(path, ...given),
    head: (path, ...given) => at(path).head(path, ...given),
    list: (...given) => peer.list(...given),
    close: () => peer.close(),
  };
}

conformance("peer", missing, async () => {
  const site = new Site();
  const peer = await site.backend();
  return {
    backend: readThrough(site.memory, peer),
    leftovers: () => Promise.resolve([]),
    end: async () => {
      await peer.close();
      await site.server.close();
    },
  };
});

function onPeer(sentence: string, test: (site: Site) => Promise<void>): void {
  Deno.test({
    name: `peer: ${sentence}` + (missing === null ? "" : ` (skipped: ${missing})`),
    ignore: missing !== null,
    fn: async () => {
      const site = new Site();
      try {
        await test(site);
      } finally {
        await site.server.close();
      }
    },
  });
}

const OBJECT = "/v1/object?path=main/a.c%2Cv";

onPeer("without the token nothing is told, not even what there is", async (site) => {
  await site.memory.put(PATH, contentOf(someBytes(100)), never);
  const pages = [OBJECT, "/v1/object?path=none", "/v1/list?prefix=&after=", "/", "/../etc/passwd"];
  const tokens = [
    null,
    "",
    "Bearer ",
    "Bearer wrong",
    `Bearer ${TOKEN}x`,
    `Bearer ${TOKEN.slice(1)}`,
    `Basic ${TOKEN}`,
    TOKEN,
  ];
  for (const page of pages) {
    for (const token of tokens) {
      for (const method of ["GET", "HEAD", "PUT", "DELETE", "POST"]) {
        const { status, body, headers } = await site.ask(page, { method }, token);
        assertEquals([status, body], [401, ""], `${method} ${page} ${token}`);
        assertEquals(headers.get(PEER_HEADER), null);
      }
    }
  }
  assertEquals(new Set(site.results), new Set(["refused"]));
  assertEquals(site.memory.calls.filter(({ operation }) => operation !== "put"), []);
  const stranger = await site.backend("wrong");
  await fails("denied", () => stranger.head(PATH, never));
  await stranger.close();
});

onPeer("another token counts from when it is there", async (site) => {
  await site.memory.put(PATH, contentOf(someBytes(100)), never);
  const old = await site.backend();
  await old.head(PATH, never);
  site.token = "another".repeat(5);
  await fails("denied", () => old.head(PATH, never));
  await old.close();
});

onPeer("plain HTTP gets nothing, and a stranger's certificate is not believed", async (site) => {
  const plain = await fetch(`http://127.0.0.1:${site.server.port}${OBJECT}`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  }).then((response) => response.text(), () => "");
  assertEquals(plain, "");
  const backend = await PeerBackend.open({
    endpoint: site.endpoint,
    token: () => TOKEN,
    readers: null,
    caCertPath: null,
    clientCertPath: null,
    clientKeyPath: null,
    idleTimeoutSeconds: 10,
  });
  await fails("denied", () => backend.head(PATH, never));
  await backend.close();
  assertEquals(site.results, []);
});

onPeer("with the token nothing is changed, and only depot files are read", async (site) => {
  await site.memory.put(PATH, contentOf(someBytes(100)), never);
  const allowed = `Bearer ${TOKEN}`;
  for (const method of ["PUT", "POST", "DELETE", "PATCH"]) {
    assertEquals((await site.ask(OBJECT, { method }, allowed)).status, 405);
  }
  const range = { headers: { range: "bytes=0-99" } };
  const paths = [
    "",
    "..",
    "../etc/passwd",
    "%2Fetc%2Fpasswd",
    "main%2F..%2F..%2Fetc",
    "main//a",
    ".p4cache",
    ".p4cache%2Fmanifest%2Fdata.mdb",
    ".p4cache/lease",
    "a%0Ab",
    "a%00b",
    "x".repeat(2000),
  ];
  for (const path of paths) {
    const { status } = await site.ask(`/v1/object?path=${path}`, range, allowed);
    assertEquals(status, 400, path);
  }
  for (const page of ["/", "/v1/", "/v1/objects", "/v2/object?path=a"]) {
    assertEquals((await site.ask(page, range, allowed)).status, 400, page);
  }
  assertEquals((await site.ask(OBJECT, {}, allowed)).status, 400, "a whole file at once");
  const large = textPath("large");
  await site.memory.put(large, contentOf(someBytes(SLICE_BYTES + 1)), never);
  const tooMuch = { headers: { range: `bytes=0-${SLICE_BYTES}` } };
  assertEquals((await site.ask("/v1/object?path=large", tooMuch, allowed)).status, 400);
  assertEquals((await site.ask(OBJECT, range, allowed)).status, 206);
  const backend = await site.backend();
  await fails("permanent", () => backend.put(PATH));
  await fails("permanent", () => backend.copy(PATH, PATH));
  await fails("permanent", () => backend.delete(PATH));
  await backend.close();
  assert(site.memory.objects.has(PATH));
});

onPeer("who asks too often is told to come later", async (site) => {
  await site.memory.put(PATH, contentOf(someBytes(100)), never);
  site.rate = 0.001;
  const ask = () => site.ask(OBJECT, { method: "HEAD" }, `Bearer ${TOKEN}`);
  // What one request takes too early, the next ones wait for.
  const answers = [await ask(), await ask(), await ask(), await ask()];
  assertEquals(answers[0]!.status, 200);
  const { status, headers } = answers[3]!;
  assertEquals([status, headers.get("retry-after")], [429, "1"]);
  assertEquals(site.results[3], "limited");
});

onPeer("another server's refusal is never taken for absence", async () => {
  for (const status of [404, 200, 500]) {
    await using other = Deno.serve({
      hostname: "127.0.0.1",
      port: 0,
      cert: Deno.readTextFileSync(`${certificates}/leaf.pem`),
      key: Deno.readTextFileSync(`${certificates}/leaf.key`),
      onListen: () => {},
    }, () => new Response("Not here", { status }));
    const backend = await PeerBackend.open({
      endpoint: `https://127.0.0.1:${other.addr.port}`,
      token: () => TOKEN,
      readers: null,
      caCertPath: `${certificates}/ca.pem`,
      clientCertPath: null,
      clientKeyPath: null,
      idleTimeoutSeconds: 10,
    });
    const signal = never, path = "a" as DepotPath;
    const error = await backend.getRange(path, 0, 10, { signal }).then(
      () => null,
      (error) => error as StorageError,
    );
    assertEquals(error?.kind, status === 500 ? "transient" : "permanent");
    assertStringIncludes(error?.message ?? "", "no p4-cache answers there");
    await backend.close();
  }
});

onPeer("who reads from itself in the end is refused, others are not", async (site) => {
  await site.memory.put(PATH, contentOf(someBytes(100)), never);
  const there = new PeerReaders("there", () => performance.now());
  const backend = await site.backend(TOKEN, there);
  assertEquals((await backend.head(PATH, never)).size, 100);
  // Here is asked by there, so there must not be asked by here.
  assertEquals(there.admits(site.readers.text), false);
  // What "here" reads from a third one, the third one reads from there.
  assert(there.admits("third,here"));
  for (
    const call of [
      () => backend.head(PATH, never),
      () => backend.getRange(PATH, 0, 10, { signal: never }),
    ]
  ) {
    const error = await call().then(() => null, (error) => error as StorageError);
    assertEquals(error?.kind, "permanent");
    assertStringIncludes(error?.message ?? "", "take one of the peers out of the circle");
  }
  assertEquals(site.results, ["served", "refused", "refused"]);
  await backend.close();
});
