/** Where the Google Cloud Storage backend gets its access tokens, and what it says when it gets none. @module */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import { StorageError } from "../../../src/storage/backend.ts";
import { GcsBackend } from "../../../src/storage/gcs/gcs_backend.ts";
import { TokenSource, tokenSource } from "../../../src/storage/gcs/gcs_credentials.ts";
import { GcsRequests } from "../../../src/storage/gcs/gcs_requests.ts";
import { openHttpClient } from "../../../src/storage/http_client.ts";
import { fails } from "../conformance.ts";
import { never, textPath } from "../contents.ts";
import { gcsConfig } from "../fake_gcs.ts";
import { IMPATIENT } from "../fault_server.ts";
import { refusal } from "./gcs_faults.ts";

const NOW = Date.now();

/** A service account's key file; returns its text. */
async function keyFile(path: string, account: string): Promise<string> {
  const { privateKey } = await crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      hash: "SHA-256",
      modulusLength: 2048,
      publicExponent: new Uint8Array([1, 0, 1]),
    },
    true,
    ["sign", "verify"],
  );
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", privateKey));
  const lines = Buffer.from(der).toString("base64").replace(/.{1,64}/g, "$&\n");
  const text = JSON.stringify({
    type: "service_account",
    project_id: "p",
    private_key_id: "1",
    private_key: `-----BEGIN PRIVATE KEY-----\n${lines}-----END PRIVATE KEY-----\n`,
    client_email: account,
    token_uri: "https://oauth2.googleapis.com/token",
  });
  await Deno.writeTextFile(path, text);
  return text;
}

async function inTempDir(test: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir();
  try {
    await test(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

/** The source for a file; `answer` stands for Google. */
function sourceOf(file: string, answer: (url: string, body: string) => Response): TokenSource {
  const send =
    ((input: RequestInfo | URL, init?: RequestInit) =>
      Promise.resolve(answer(String(input), String(init?.body)))) as typeof fetch;
  return tokenSource({ endpoint: null, credentialsFile: file, projectId: null }, send)!;
}

const token = (value: string) => Response.json({ access_token: value, expires_in: 3600 });

/** A backend whose tokens come from the source. */
async function withBackend(
  tokens: TokenSource,
  endpoint: string,
  test: (backend: GcsBackend) => Promise<void>,
): Promise<void> {
  const { http, origin, close } = await openHttpClient(gcsConfig(endpoint), endpoint);
  const config = gcsConfig(endpoint);
  const requests = new GcsRequests({
    base: origin,
    bucket: config.bucket,
    client: http,
    tokens,
    userProject: null,
    limits: IMPATIENT,
  });
  const options = { ...config, wholeBytes: 1, chunkBytes: 1, chunksInFlight: 1 };
  const backend = new GcsBackend(requests, options, close);
  try {
    await test(backend);
  } finally {
    await backend.close();
  }
}

/** Who asks, as the signed assertion says. */
function issuer(body: string): string {
  const claims = new URLSearchParams(body).get("assertion")!.split(".")[1]!;
  return JSON.parse(Buffer.from(claims, "base64url").toString()).iss;
}

Deno.test("gcs: a service account's file is exchanged for a token, which is kept", () =>
  inTempDir(async (dir) => {
    await keyFile(`${dir}/key.json`, "one@p");
    const asked: string[] = [];
    const source = sourceOf(`${dir}/key.json`, (url, body) => {
      asked.push(`${url} ${issuer(body)}`);
      return token(`t${asked.length}`);
    });
    assertEquals(await Promise.all([source.get(NOW), source.get(NOW)]), ["t1", "t1"]);
    assertEquals(await source.get(NOW + 60_000), "t1");
    assertEquals(asked, ["https://oauth2.googleapis.com/token one@p"]);
  }));

Deno.test("gcs: a key that is replaced in its file is used without a restart", () =>
  inTempDir(async (dir) => {
    await keyFile(`${dir}/key.json`, "one@p");
    const source = sourceOf(`${dir}/key.json`, (_, body) => token(issuer(body)));
    assertEquals(await source.get(NOW), "one@p");
    await keyFile(`${dir}/key.json`, "two@p");
    assertEquals(await source.get(NOW + 1000), "one@p");
    assertEquals(await source.get(NOW + 2 * 3_600_000), "two@p");
    // And at once, when the server does not want the old one any more.
    await keyFile(`${dir}/key.json`, "three@p");
    source.refused("two@p", NOW + 2 * 3_600_000);
    assertEquals(await source.get(NOW + 2 * 3_600_000), "three@p");
  }));

Deno.test("gcs: a workload's own token is exchanged, too", () =>
  inTempDir(async (dir) => {
    // The library sends these requests itself.
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      async (request) => token(new URLSearchParams(await request.text()).get("subject_token")!),
    );
    await Deno.writeTextFile(`${dir}/subject`, "from-the-platform");
    await Deno.writeTextFile(
      `${dir}/config.json`,
      JSON.stringify({
        type: "external_account",
        audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
        subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
        token_url: `http://127.0.0.1:${server.addr.port}/v1/token`,
        credential_source: { file: `${dir}/subject` },
      }),
    );
    const source = sourceOf(`${dir}/config.json`, () => new Response(null, { status: 500 }));
    assertEquals(await source.get(NOW), "from-the-platform");
    await server.shutdown();
  }));

/** Runs a test with environment variables of the Google library; nothing else reads them. */
async function withEnvironment(
  variables: Record<string, string>,
  test: () => Promise<void>,
): Promise<void> {
  const before = Deno.env.toObject();
  Deno.env.delete("GOOGLE_APPLICATION_CREDENTIALS");
  for (const [name, value] of Object.entries(variables)) Deno.env.set(name, value);
  try {
    await test();
  } finally {
    for (const name of [...Object.keys(variables), "GOOGLE_APPLICATION_CREDENTIALS"]) {
      const value = before[name];
      if (value === undefined) Deno.env.delete(name);
      else Deno.env.set(name, value);
    }
  }
}

Deno.test("gcs: without a file, application-default credentials are looked for", () =>
  inTempDir(async (dir) => {
    const source = () =>
      tokenSource({ endpoint: null, credentialsFile: null, projectId: null }, () => {
        throw new Error("the metadata server is not asked this way");
      })!;
    const none = { CLOUDSDK_CONFIG: dir, METADATA_SERVER_DETECTION: "none" };
    await withEnvironment(none, async () => {
      const error = await fails("denied", async () => await source().get(NOW));
      assertStringIncludes(error.message, "GOOGLE_APPLICATION_CREDENTIALS");
    });
    const server = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      (request) => {
        const { pathname } = new URL(request.url);
        const headers = { "metadata-flavor": "Google" };
        return pathname.endsWith("/token")
          ? Response.json({ access_token: "machine's", expires_in: 3600 }, { headers })
          : new Response("x", { headers });
      },
    );
    const machine = {
      CLOUDSDK_CONFIG: dir,
      METADATA_SERVER_DETECTION: "assume-present",
      GCE_METADATA_HOST: `127.0.0.1:${server.addr.port}`,
    };
    await withEnvironment(machine, async () => {
      assertEquals(await source().get(NOW), "machine's");
    });
    await server.shutdown();
  }));

Deno.test("gcs: a token is renewed beside the requests before it ends", async () => {
  let loads = 0;
  const source = new TokenSource(() => {
    loads++;
    return Promise.resolve({ token: `t${loads}`, expiresMs: loads * 3_600_000 });
  });
  assertEquals(await source.get(0), "t1");
  assertEquals(await source.get(3_590_000), "t1");
  assertEquals(await source.get(3_590_000), "t2");
  assertEquals(await source.get(8_000_000), "t3");
});

Deno.test("gcs: a token that is refused is replaced, unless it was never good", async () => {
  let loads = 0;
  const source = new TokenSource(() =>
    Promise.resolve({ token: `t${++loads}`, expiresMs: Infinity })
  );
  const given: (string | null)[] = [];
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen: () => {} },
    (request) => {
      given.push(request.headers.get("authorization"));
      return refusal(401, "authError", "Invalid Credentials");
    },
  );
  await withBackend(source, `http://127.0.0.1:${server.addr.port}`, async (backend) => {
    // Taken long ago, so it may have been revoked since.
    await source.get(Date.now() - 3_600_000);
    await fails("transient", () => backend.head(textPath("x"), never));
    const error = await fails("denied", () => backend.head(textPath("x"), never));
    assertEquals(given, ["Bearer t1", "Bearer t2"]);
    assert(!error.message.includes("t2"));
  });
  await server.shutdown();
});

Deno.test("gcs: a token that never comes holds nobody up", () =>
  inTempDir(async (dir) => {
    await keyFile(`${dir}/key.json`, "one@p");
    const config = { endpoint: null, credentialsFile: `${dir}/key.json`, projectId: null };
    const silent = (() => new Promise<never>(() => {})) as typeof fetch;
    const source = tokenSource(config, silent, 50)!;
    const error = await fails("transient", async () => await source.get(NOW));
    assertStringIncludes(error.message, "timed out");
    const patient = tokenSource(config, silent, 1500)!;
    await withBackend(patient, "http://127.0.0.1:1", async (backend) => {
      const stop = new AbortController();
      const reading = fails("transient", () => backend.head(textPath("x"), stop.signal));
      stop.abort();
      assertStringIncludes((await reading).message, "stopped");
      // The source's own time limit ends before the test does.
      await fails("transient", async () => await patient.get(NOW));
    });
  }));

Deno.test("gcs: an emulator is asked without credentials, anything else with some", () => {
  const source = (endpoint: string | null, credentialsFile: string | null) =>
    tokenSource({ endpoint, credentialsFile, projectId: null }, fetch);
  assertEquals(source("http://127.0.0.1:4443", null), null);
  assert(source("http://127.0.0.1:4443", "/key.json") !== null);
  assert(source("https://storage.example", null) !== null);
  assert(source(null, null) !== null);
});

Deno.test("gcs: why there is no token is said with what to do", () =>
  inTempDir(async (dir) => {
    const path = `${dir}/key.json`;
    const secret = JSON.parse(await keyFile(path, "one@p")).private_key as string;
    const refuse = (error: string, error_description: string, status = 400) => () =>
      Response.json({ error, error_description }, {
        status,
        headers: { date: new Date(Date.now() - 600_000).toUTCString() },
      });
    const skewed = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a " +
      "reasonable timeframe. Check your iat and exp values in the JWT claim.";
    for (
      const [answer, kind, said] of [
        [refuse("invalid_grant", skewed), "denied", /it is 60\d s ahead/],
        [refuse("invalid_grant", "Invalid JWT Signature."), "denied", "put it into"],
        [refuse("invalid_grant", "Invalid grant: account not found"), "denied", "make a new key"],
        [refuse("unauthorized_client", "x", 401), "denied", "check that the credentials"],
        [
          () => {
            throw new TypeError("error sending request");
          },
          "transient",
          "sending",
        ],
      ] as const
    ) {
      const error = await fails(kind, async () => await sourceOf(path, answer).get(NOW));
      assertMatch(error.message, said instanceof RegExp ? said : new RegExp(said));
      assert(!Deno.inspect(error, { depth: 9 }).includes(secret.slice(40, 80)));
    }
  }));

Deno.test("gcs: a credentials file that is none is denied, and its text not shown", () =>
  inTempDir(async (dir) => {
    const path = `${dir}/key.json`;
    const get = async () => await sourceOf(path, () => token("t")).get(NOW);
    assertStringIncludes((await fails("denied", get)).message, "No such file");
    for (
      const text of ["secret!", '{"secret', "[]", '{"a":"secret"}', '{"type":"x","a":"secret"}']
    ) {
      await Deno.writeTextFile(path, text);
      const error = await fails("denied", get);
      assertStringIncludes(error.message, path);
      assert(!error.message.includes("secret"), error.message);
    }
    assert(await fails("denied", get) instanceof StorageError);
  }));
