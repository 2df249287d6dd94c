/** Files as bodies: what is wrong with a file is told as that, and ways without threads read it. @module */

import { assertEquals, assertRejects, assertStringIncludes } from "deno-std/assert/mod.js";
import { ENOSPC } from "../../ffi/errno.ts";
import { FileError } from "../../ffi/file_error.ts";
import { StorageError } from "../../src/storage/backend.ts";
import { type FileBody, FileFailed, type FileSink } from "../../src/storage/file_transfer.ts";
import { HttpConnections } from "../../src/storage/http_connections.ts";
import { certificateAdvice } from "../../src/storage/certificate_advice.ts";
import { DEFAULT_LIMITS, exchange, type HttpRequest } from "../../src/storage/http_exchange.ts";
import { makeCertificates } from "./certificates.ts";
import { never } from "./contents.ts";

const ERRAND = { limits: DEFAULT_LIMITS, doing: "move a file", signal: never };
const full = new FileFailed("no room", { cause: new FileError(ENOSPC, "write", "an open file") });
const notThisWay = new Error("not this way");

/** A server that gives back what it is sent. */
async function withServer(
  test: (url: string, client: (isDirect: boolean) => HttpRequest["client"]) => Promise<void>,
): Promise<void> {
  const options = { hostname: "127.0.0.1", port: 0, onListen: () => {} };
  const server = Deno.serve(options, async (request) => new Response(await request.bytes()));
  const origin = `http://127.0.0.1:${server.addr.port}`;
  using platform = Deno.createHttpClient({});
  const direct = new HttpConnections(new URL(origin), []);
  await test(`${origin}/x`, (isDirect) => ({ platform, direct: isDirect ? direct : null }));
  direct.close();
  await server.shutdown();
}

Deno.test("a file that cannot be read or written fails for good, with the file's error as its cause", async () => {
  await withServer(async (url, client) => {
    const into: FileSink = {
      receive: () => Promise.reject(full),
      copy: () => Promise.reject(notThisWay),
    };
    const body: FileBody = {
      length: 1,
      send: () => Promise.reject(full),
      copyTo: () => Promise.reject(notThisWay),
      read: () => Promise.reject(full.cause),
    };
    const headers: [string, string][] = [];
    const requests: HttpRequest[] = [
      { method: "GET", headers, body: null, into, client: client(true) },
      { method: "PUT", headers, body, client: client(true) },
      { method: "PUT", headers, body, client: client(false) },
    ];
    for (const request of requests) {
      const error = await assertRejects(() => exchange(url, request, ERRAND), StorageError);
      assertEquals([error.kind, error.cause], ["permanent", full.cause]);
    }
  });
});

Deno.test("the platform's way reads a file's body, and gives what it receives", async () => {
  await withServer(async (url, client) => {
    const body: FileBody = {
      length: 3,
      send: () => Promise.reject(notThisWay),
      copyTo: () => Promise.reject(notThisWay),
      read: () => Promise.resolve(Uint8Array.from([97, 98, 99])),
    };
    const into: FileSink = {
      receive: () => Promise.reject(notThisWay),
      copy: () => Promise.reject(notThisWay),
    };
    const request = { method: "PUT", headers: [], body, into, client: client(false) };
    const answer = await exchange(url, request, ERRAND);
    assertEquals([await answer.text(), answer.written], ["abc", null]);
  });
});

/** What the client is told of a server with this certificate, asked for by this name. */
async function refusal(dir: string, name: string, leaf: string, ca: string | null) {
  const read = (file: string) => Deno.readTextFileSync(`${dir}/${file}`);
  const options = { hostname: "localhost", port: 0, onListen: () => {} };
  const tls = { cert: read(`${leaf}.pem`), key: read(`${leaf}.key`) };
  const server = Deno.serve({ ...options, ...tls }, () => new Response());
  using platform = Deno.createHttpClient(ca === null ? {} : { caCerts: [read(ca)] });
  const client = { platform, direct: null };
  const url = `https://${name}:${server.addr.port}/x`;
  const error = await assertRejects(
    () => exchange(url, { client, method: "GET", headers: [], body: null }, ERRAND),
    StorageError,
  );
  await server.shutdown();
  assertEquals(error.kind, "denied");
  return error.message.slice(error.message.lastIndexOf("; ") + 2);
}

Deno.test("a certificate that is refused is told with what to do about it", async () => {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-tls-" });
  try {
    await makeCertificates(dir);
    assertEquals(
      await refusal(dir, "localhost", "leaf", null),
      "name the CA's file in ca_cert_path, or correct the endpoint's name",
    );
    assertEquals(
      await refusal(dir, "localhost", "leaf", "ca.pem"),
      "use a name in the endpoint that the certificate is for",
    );
    assertStringIncludes(
      await refusal(dir, "localhost", "ca", "ca.pem"),
      "basicConstraints=CA:FALSE",
    );
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
  assertStringIncludes(certificateAdvice("certificate expired: verification time 1"), "renew");
  assertStringIncludes(certificateAdvice("certificate not valid yet: verification"), "clock");
});
