/** Addresses, names and credentials of the Azure backend. @module */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import fc from "fast-check";
import { pathFromBytes, pathProblem } from "../../../src/depot_path.ts";
import {
  type CredentialSource,
  credentialSource,
  TokenSource,
} from "../../../src/storage/azure/azure_credentials.ts";
import {
  escapeName,
  escapeStart,
  isPlainName,
  nameOfPath,
  pathOfName,
} from "../../../src/storage/azure/azure_names.ts";
import { bytesOfBlock } from "../../../src/storage/azure/azure_blocks.ts";
import { containerAddress, openAzure } from "../../../src/storage/azure/azure_open.ts";
import { AzureRequests } from "../../../src/storage/azure/azure_requests.ts";
import { AzureSigner } from "../../../src/storage/azure/azure_signer.ts";
import { SLICE_BYTES, StorageError } from "../../../src/storage/backend.ts";
import { DEFAULT_LIMITS } from "../../../src/storage/http_exchange.ts";
import { ACCOUNT, ACCOUNT_KEY, azureConfig, CONTAINER } from "../azurite.ts";
import { fails } from "../conformance.ts";
import { never, textPath } from "../contents.ts";

Deno.test("azure: accounts are addressed by host name, emulators by path", () => {
  const address = (endpoint: string | null, accountName: string | null = "acc") => {
    const { origin, basePath, account } = containerAddress({
      endpoint,
      accountName,
      container: "c",
    });
    return [origin, basePath, account];
  };
  assertEquals(address(null), ["https://acc.blob.core.windows.net", "/c", "acc"]);
  const china = "https://acc.blob.core.chinacloudapi.cn";
  assertEquals(address(china + "/"), [china, "/c", "acc"]);
  assertEquals(address(china, null), [china, "/c", "acc"]);
  assertEquals(address("http://127.0.0.1:10000"), ["http://127.0.0.1:10000", "/acc/c", "acc"]);
  assertEquals(address("http://[::1]:10000"), ["http://[::1]:10000", "/acc/c", "acc"]);
  assertEquals(address("http://azurite:10000"), ["http://azurite:10000", "/acc/c", "acc"]);
  assertEquals(address("http://h.local:1/acc", null), ["http://h.local:1", "/acc/c", "acc"]);
  assertThrows(() => address("http://"), StorageError, "no address");
});

Deno.test("azure: every path has a name of its own that leads back to it", () => {
  const bytes = fc.array(
    fc.oneof(
      fc.constantFrom(...[..."./\\%a2E5C"].map((c) => c.charCodeAt(0))),
      fc.integer({ min: 1, max: 255 }),
    ),
    { minLength: 1, maxLength: 30 },
  );
  fc.assert(fc.property(bytes, fc.nat(30), (bytes, length) => {
    const path = pathFromBytes(Uint8Array.from(bytes));
    if (pathProblem(path) !== null) return;
    const name = nameOfPath("p", path);
    assertEquals(pathOfName("p", name), path);
    assert(isPlainName(name), name);
    assert(escapeName(path).startsWith(escapeStart(path.slice(0, length))));
  }));
  assertEquals(nameOfPath("p", "a/b"), "p/a/b");
  assertEquals(nameOfPath("", "a./b"), ".p4cache/names/a%2E/b");
  assertEquals(nameOfPath("", textPath("\ue000")), ".p4cache/names/%EE%80%80");
});

Deno.test("azure: an object of any size fits in the blocks that there may be", () => {
  assertEquals(bytesOfBlock(SLICE_BYTES + 1, SLICE_BYTES), SLICE_BYTES);
  assertEquals(bytesOfBlock(2 ** 40, 2 * SLICE_BYTES), 3 * SLICE_BYTES);
  assert(Math.ceil(190 * 2 ** 40 / bytesOfBlock(190 * 2 ** 40, SLICE_BYTES)) <= 50_000);
});

Deno.test("azure: a signature is what the documentation's rules give", async () => {
  const signer = new AzureSigner(ACCOUNT, ACCOUNT_KEY);
  const parts = {
    method: "PUT",
    path: "/devstoreaccount1/c/a%20b",
    query: { comp: "block", blockid: "aWQ=" },
    headers: [
      ["x-ms-version", "2021-12-02"],
      ["x-ms-date", "Sat, 31 Jan 2026 12:00:00 GMT"],
      ["content-md5", "bWQ1"],
      ["if-match", '"e"'],
    ] as [string, string][],
    length: 5,
  };
  const text = 'PUT\n\n\n5\nbWQ1\n\n\n\n"e"\n\n\n\n' +
    "x-ms-date:Sat, 31 Jan 2026 12:00:00 GMT\nx-ms-version:2021-12-02\n" +
    "/devstoreaccount1/devstoreaccount1/c/a%20b\nblockid:aWQ=\ncomp:block";
  const raw = Uint8Array.from(atob(ACCOUNT_KEY), (c) => c.charCodeAt(0));
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", raw, algorithm, false, ["sign"]);
  const mac = await crypto.subtle.sign("HMAC", key, new TextEncoder().encode(text));
  const expected = btoa(String.fromCharCode(...new Uint8Array(mac)));
  assertEquals(signer.sign(parts), `SharedKey ${ACCOUNT}:${expected}`);
});

Deno.test("azure: a token is renewed before its end, once for all who ask", async () => {
  let loads = 0;
  const source = new TokenSource(() =>
    Promise.resolve({ token: `t${++loads}`, expiresOnTimestamp: loads * 3_600_000 })
  );
  const token = async (nowMs: number) => {
    const credentials = await source.get(nowMs);
    return credentials.kind === "token" ? credentials.token : "";
  };
  assertEquals(await Promise.all([token(0), token(0)]), ["t1", "t1"]);
  assertEquals(await token(3_000_000), "t1");
  assertEquals([await token(3_400_000), await token(3_400_000)], ["t1", "t2"]);
  const held = await source.get(3_500_000);
  assertEquals(source.refused(held, 3_430_000), false);
  assertEquals(source.refused(held, 3_500_000), true);
  assertEquals(await token(3_500_000), "t3");
});

Deno.test("azure: a token that cannot be had is denied with where it is looked for", async () => {
  const source = new TokenSource(() => Promise.reject(new Error("no identity")));
  const error = await fails("denied", async () => await source.get(0));
  assertStringIncludes(error.message, "no identity");
  assertStringIncludes(error.message, "managed identity");
});

Deno.test("azure: a token is not sent in the clear", async () => {
  const config = azureConfig("http://127.0.0.1:1", { accountKey: null });
  assertStringIncludes((await fails("permanent", () => openAzure(config))).message, "https");
});

/** Runs a test against a server, with the requests it got. */
async function withServer(
  answer: (request: Request) => Response,
  test: (origin: string) => Promise<void>,
): Promise<void> {
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    async (request) => {
      await request.bytes();
      return answer(request);
    },
  );
  try {
    await test(`http://127.0.0.1:${server.addr.port}`);
  } finally {
    stop.abort();
    await server.finished;
  }
}

/** Asks for one blob's head. */
async function head(origin: string, credentials: CredentialSource): Promise<number> {
  const client = Deno.createHttpClient({});
  const address = {
    origin,
    reachedAt: origin,
    basePath: `/${CONTAINER}`,
    account: ACCOUNT,
    container: CONTAINER,
  };
  const requests = new AzureRequests(
    address,
    credentials,
    { platform: client, direct: null },
    DEFAULT_LIMITS,
  );
  try {
    const request = { method: "HEAD", blob: "x", doing: "try", signal: never } as const;
    const answer = await requests.send(request);
    await answer.cancel();
    return answer.status;
  } finally {
    client.close();
  }
}

Deno.test("azure: a machine's identity is found, and its token sent", async () => {
  const seen: string[] = [];
  await withServer((request) => {
    const url = new URL(request.url);
    if (url.pathname === "/msi/token") {
      seen.push(url.searchParams.get("resource")!);
      return Response.json({
        access_token: "machine-token",
        expires_on: String(Math.floor(Date.now() / 1000) + 7200),
        resource: "https://storage.azure.com",
        token_type: "Bearer",
      });
    }
    seen.push(request.headers.get("authorization")!);
    return new Response();
  }, async (origin) => {
    // The protocol of App Service, which the identity library knows as well as IMDS.
    Deno.env.set("IDENTITY_ENDPOINT", `${origin}/msi/token`);
    Deno.env.set("IDENTITY_HEADER", "header");
    try {
      const config = azureConfig(origin, { accountKey: null });
      const source = credentialSource(config, ACCOUNT);
      assertEquals([await head(origin, source), await head(origin, source)], [200, 200]);
    } finally {
      Deno.env.delete("IDENTITY_ENDPOINT");
      Deno.env.delete("IDENTITY_HEADER");
    }
  });
  const bearer = "Bearer machine-token";
  assertEquals(seen, ["https://storage.azure.com", bearer, bearer]);
});

Deno.test("azure: an identity without role is told the role it needs", async () => {
  const denied = () =>
    new Response(null, {
      status: 403,
      headers: { "x-ms-error-code": "AuthorizationPermissionMismatch" },
    });
  await withServer(denied, async (origin) => {
    const source = new TokenSource(() =>
      Promise.resolve({ token: "t", expiresOnTimestamp: Date.now() + 3_600_000 })
    );
    const { message } = await fails("denied", () => head(origin, source));
    assertStringIncludes(message, 'the role "Storage Blob Data Reader"');
  });
});

Deno.test("azure: a token that ended early is replaced", async () => {
  let loads = 0;
  const answer = (request: Request) =>
    request.headers.get("authorization") === "Bearer t1"
      ? new Response(null, {
        status: 401,
        headers: { "x-ms-error-code": "InvalidAuthenticationInfo" },
      })
      : new Response();
  await withServer(answer, async (origin) => {
    const source = new TokenSource(() =>
      Promise.resolve({ token: `t${++loads}`, expiresOnTimestamp: Date.now() + 3_600_000 })
    );
    await source.get(Date.now() - 120_000);
    await fails("transient", () => head(origin, source));
    assertEquals(await head(origin, source), 200);
  });
});

Deno.test("azure: a proxy is used where the environment names one", async () => {
  const seen: string[] = [];
  await withServer((request) => {
    seen.push(request.url);
    return new Response(null, { status: 201, headers: { etag: '"e"' } });
  }, async (proxy) => {
    const script = `
      import { openAzure } from ${
      JSON.stringify(import.meta.resolve("../../../src/storage/azure/azure_open.ts"))
    };
      const config = ${JSON.stringify(azureConfig("http://account.example.test"))};
      const backend = await openAzure(config);
      await backend.delete("x", new AbortController().signal);
      await backend.close();`;
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "-A",
        "--no-check",
        `data:application/typescript,${encodeURIComponent(script)}`,
      ],
      env: { HTTP_PROXY: proxy, NO_COLOR: "1" },
    }).output();
    assert(success, new TextDecoder().decode(stderr));
  });
  assertEquals(seen, ["http://account.example.test/depot-container/depot/x"]);
});
