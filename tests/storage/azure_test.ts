/** The Azure backend against Microsoft's emulator. @module */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { AzureConfig } from "../../src/config/config.ts";
import { type Backend, SLICE_BYTES } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { RETRY_DEFAULTS, RetryingBackend } from "../../src/storage/retrying.ts";
import { ACCOUNT_KEY, azuriteMissing, CONTAINER, type Emulator, startAzurite } from "./azurite.ts";
import { makeCertificates, openssl } from "./certificates.ts";
import { conformance, fails, paths } from "./conformance.ts";
import { bytePath, contentOf, never, someBytes, textPath } from "./contents.ts";

const missing = azuriteMissing();
const PATH = textPath("a/b,v");
const WRONG_KEY = btoa("w".repeat(64));

// One for all: it takes longer to start than most tests take. Each test has a prefix of its own.
const emulator = missing === null ? await startAzurite() : null;
globalThis.addEventListener("unload", () => emulator?.kill());
let prefixes = 0;

conformance("azure", missing, async () => {
  const backend = await openBackend(emulator!.config({ prefix: `test${++prefixes}` }));
  return {
    backend,
    // Staged blocks are nothing that anybody can read, and the service drops them by itself.
    leftovers: () => Promise.resolve([]),
    end: () => backend.close(),
  };
});

type Using = (
  changes: Partial<AzureConfig>,
  test: (backend: Backend) => Promise<void>,
) => Promise<void>;

function onEmulator(
  sentence: string,
  test: (emulator: Emulator, using: Using, prefix: string) => Promise<void>,
): void {
  Deno.test({
    name: `azure: ${sentence}` + (missing === null ? "" : ` (skipped: ${missing})`),
    ignore: missing !== null,
    fn: async () => {
      const prefix = `test${++prefixes}`;
      const using: Using = async (changes, test) => {
        const backend = await openBackend(emulator!.config({ prefix, ...changes }));
        try {
          await test(backend);
        } finally {
          await backend.close();
        }
      };
      await test(emulator!, using, prefix);
    },
  });
}

const store = (backend: Backend) => backend.put(PATH, contentOf(someBytes(99)), never);
const read = (backend: Backend) => backend.getRange(PATH, 0, 1000, { signal: never });

onEmulator(
  "an object is the file's plain bytes under prefix and path",
  (emulator, using) =>
    using({ prefix: "p/q", accessTier: "cool" }, async (backend) => {
      await backend.put(textPath("a b/ü,v"), contentOf(someBytes(99)), never);
      const stored = `/${CONTAINER}/p/q/a%20b/%C3%BC,v`;
      assertEquals(await (await emulator.request("GET", stored)).bytes(), someBytes(99));
      const { headers } = await emulator.request("HEAD", stored);
      assertEquals(headers.get("x-ms-meta-p4cache_mode"), "0444");
      assertEquals(headers.get("x-ms-access-tier"), "Cool");
    }),
);

onEmulator(
  "a name that Azure does not keep is escaped, apart from all others",
  (emulator, using, prefix) =>
    using({}, async (backend) => {
      const names = [
        "d/\xe9%,v",
        "d/a",
        "d/dir./x",
        "d/end..",
        "d/back\\slash",
        "d/end.%2E",
        "d/z",
      ];
      for (const [i, name] of names.entries()) {
        await backend.put(bytePath(name), contentOf(someBytes(10 + i)), never);
      }
      assertEquals(await paths(backend, "d/"), [...names].sort());
      assertEquals(await paths(backend, "d/end."), ["d/end.%2E", "d/end.."]);
      assertEquals(await paths(backend, "d/dir./"), ["d/dir./x"]);
      const escaped = {
        "%25E9%2525,v": 10,
        "dir%252E/x": 12,
        "end.%252E": 13,
        "back%255Cslash": 14,
      };
      for (const [name, size] of Object.entries(escaped)) {
        const path = `/${CONTAINER}/${prefix}/.p4cache/names/d/${name}`;
        assertEquals((await (await emulator.request("GET", path)).bytes()).length, size, name);
      }
    }),
);

onEmulator("an object that another program has stored is read, and held to its MD5", async (
  emulator,
  using,
  prefix,
) => {
  const send = async (
    path: string,
    query: Record<string, string>,
    headers: Record<string, string>,
    body: Uint8Array<ArrayBuffer>,
  ) => {
    const answer = await emulator.request(
      "PUT",
      `/${CONTAINER}/${prefix}/${path}`,
      query,
      headers,
      body,
    );
    assertEquals([answer.status, await answer.text()], [201, ""]);
  };
  await send("a/b,v", {}, { "x-ms-blob-type": "BlockBlob" }, someBytes(99));
  // Only what is stored in blocks can carry an MD5 that the service did not look at.
  await send("bad,v", { comp: "block", blockid: btoa("1") }, {}, someBytes(99));
  const list = `<BlockList><Latest>${btoa("1")}</Latest></BlockList>`;
  const wrong = { "x-ms-blob-content-md5": btoa("x".repeat(16)) };
  await send(
    "bad,v",
    { comp: "blocklist" },
    wrong,
    Uint8Array.from(new TextEncoder().encode(list)),
  );
  await using({}, async (backend) => {
    const { info, bytes } = await read(backend);
    assertEquals([info.size, info.digest, info.mode, info.mtimeNs], [99, null, null, null]);
    assertEquals(bytes, someBytes(99));
    assertEquals(await paths(backend, ""), ["a/b,v", "bad,v"]);
    await fails("corrupt", () => backend.getRange(textPath("bad,v"), 0, 100, { signal: never }));
    await backend.copy(PATH, textPath("copy"), never);
    assertEquals((await backend.head(textPath("copy"), never)).digest, null);
  });
});

onEmulator(
  "staged blocks show neither as an object nor in one",
  (_, using) =>
    using({}, async (backend) => {
      const old = contentOf(someBytes(100));
      for (const path of [PATH, textPath("new")]) {
        if (path === PATH) await backend.put(path, old, never);
        const content = contentOf(someBytes(3 * SLICE_BYTES, 2));
        const read: typeof content.read = (offset, length) => {
          if (offset >= 2 * SLICE_BYTES) throw new Error("gone");
          return content.read(offset, length);
        };
        await fails("permanent", () => backend.put(path, { ...content, read }, never));
      }
      assertEquals(await paths(backend, ""), [PATH]);
      await fails("absent", () => backend.head(textPath("new"), never));
      assertEquals((await read(backend)).bytes, someBytes(100));
      // Another version's blocks are still staged here.
      const next = contentOf(someBytes(SLICE_BYTES + 5, 3));
      await backend.put(PATH, next, never);
      assertEquals((await backend.head(PATH, never)).digest, next.digest);
    }),
);

onEmulator(
  "two uploads to one path at once leave one of them whole",
  (_, using) =>
    using({}, async (backend) => {
      const contents = [1, 2].map((seed) => contentOf(someBytes(2 * SLICE_BYTES + 7, seed)));
      const results = await Promise.allSettled(
        contents.map((content) => backend.put(PATH, content, never)),
      );
      assert(results.some(({ status }) => status === "fulfilled"));
      const { digest } = await backend.head(PATH, never);
      const seed = contents.findIndex((content) => content.digest === digest) + 1;
      const { bytes } = await backend.getRange(PATH, SLICE_BYTES, 1000, { signal: never });
      assertEquals(bytes, someBytes(2 * SLICE_BYTES, seed).slice(SLICE_BYTES, SLICE_BYTES + 1000));
    }),
);

onEmulator(
  "a container that does not exist is denied, never absent",
  (_, using) =>
    using({ container: "no-such-container" }, async (backend) => {
      for (
        const call of [
          () => backend.head(PATH, never),
          () => read(backend),
          () => store(backend),
          () => backend.put(PATH, contentOf(someBytes(SLICE_BYTES + 1)), never),
          () => backend.delete(PATH, never),
          () => backend.copy(PATH, textPath("x"), never),
          () => paths(backend, ""),
        ]
      ) assertStringIncludes((await fails("denied", call)).message, "create the container");
    }),
);

onEmulator(
  "a wrong key is denied with what to do",
  (_, using) =>
    using({ accountKey: WRONG_KEY }, async (backend) => {
      for (const call of [store, read]) {
        assertStringIncludes((await fails("denied", () => call(backend))).message, "account_key");
      }
    }),
);

onEmulator("a shared access signature is enough, and is told from what it lacks", async (
  emulator,
  using,
) => {
  const token = (permissions: string, endsInMs = 3_600_000) => ({
    accountKey: null,
    sasToken: "?" + emulator.sas(permissions, new Date(Date.now() + endsInMs)),
  });
  await using(token("rcwdl"), async (backend) => {
    await store(backend);
    assertEquals((await read(backend)).bytes, someBytes(99));
    await backend.put(textPath("large"), contentOf(someBytes(SLICE_BYTES + 1)), never);
    await backend.copy(PATH, textPath("copy"), never);
    assertEquals(await paths(backend, ""), [PATH, "copy", "large"]);
    await backend.delete(PATH, never);
  });
  await using(token("rl"), async (backend) => {
    await fails("absent", () => read(backend));
    const { message } = await fails("denied", () => store(backend));
    assertStringIncludes(message, "has sp=rl and lacks w");
    assertEquals(message.includes("sig="), false);
  });
  await using(token("rcwdl", -60_000), async (backend) => {
    const { message } = await fails("denied", () => store(backend));
    assertStringIncludes(message, "the shared access signature ended at 20");
  });
});

onEmulator("a key that is replaced in its file is taken up without a restart", async (
  _,
  using,
) => {
  const file = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(file, WRONG_KEY + "\n");
    await using({ accountKey: WRONG_KEY, accountKeyFile: file }, async (backend) => {
      const retrying = new RetryingBackend(backend, {
        ...RETRY_DEFAULTS,
        backoff: { firstMs: 1, maxMs: 1 },
      });
      await fails("denied", () => store(retrying));
      await Deno.writeTextFile(file, ACCOUNT_KEY + "\n");
      await store(retrying);
    });
  } finally {
    await Deno.remove(file);
  }
});

onEmulator("a server that is down is transient, and no secret is told", (_, using) =>
  using({
    endpoint: "http://127.0.0.1:1",
    accountKey: null,
    sasToken: "sp=r&sig=secret",
  }, async (backend) => {
    for (const call of [store, read]) {
      const error = await fails("transient", () => call(backend));
      assertEquals(Deno.inspect(error).includes("secret"), false);
    }
  }));

/** A token as Microsoft's identity service makes them; the emulator looks at everything but who signed. */
function identityToken(endsMs: number): string {
  const part = (value: unknown) =>
    btoa(JSON.stringify(value)).replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_");
  const seconds = Math.floor(Date.now() / 1000);
  const claims = {
    aud: "https://storage.azure.com",
    iss: "https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/",
    iat: seconds - 60,
    nbf: seconds - 60,
    exp: Math.floor(endsMs / 1000),
  };
  return [part({ typ: "JWT", alg: "RS256" }), part(claims), "c2lnbmF0dXJl"].join(".");
}

const untold = missing ?? (await openssl(".", "version") ? null : "no openssl");
Deno.test({
  name: "azure: a machine's identity is enough, over TLS with a CA of one's own" +
    (untold === null ? "" : ` (skipped: ${untold})`),
  ignore: untold !== null,
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await makeCertificates(dir);
    const emulator = await startAzurite(dir);
    const endsMs = Date.now() + 3_600_000;
    // The protocol of App Service, which the identity library knows as well as that of machines.
    const identities = Deno.serve(
      { port: 0, hostname: "127.0.0.1", onListen: () => {} },
      () => Response.json({ access_token: identityToken(endsMs), expires_on: `${endsMs / 1000}` }),
    );
    Deno.env.set("IDENTITY_ENDPOINT", `http://127.0.0.1:${identities.addr.port}/token`);
    Deno.env.set("IDENTITY_HEADER", "header");
    const config = emulator.config({ accountKey: null, caCertPath: `${dir}/ca.pem` });
    const backend = await openBackend(config);
    const unknown = await openBackend({ ...config, caCertPath: null });
    const unverified = await openBackend({ ...config, caCertPath: null, verifySsl: false });
    try {
      await store(backend);
      await backend.put(textPath("large"), contentOf(someBytes(SLICE_BYTES + 1)), never);
      await backend.copy(PATH, textPath("copy"), never);
      assertEquals((await read(backend)).bytes, someBytes(99));
      assertEquals(await paths(backend, ""), [PATH, "copy", "large"]);
      assertStringIncludes((await fails("denied", () => read(unknown))).message, "ca_cert_path");
      await unverified.copy(PATH, textPath("copy"), never);
    } finally {
      Deno.env.delete("IDENTITY_ENDPOINT");
      Deno.env.delete("IDENTITY_HEADER");
      await backend.close();
      await unknown.close();
      await unverified.close();
      await identities.shutdown();
      await emulator.end();
      await Deno.remove(dir, { recursive: true });
    }
  },
});
