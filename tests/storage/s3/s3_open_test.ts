/** Addresses, credentials and certificates of the S3 backend. @module */

import { assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import type { S3Config } from "../../../src/config/config.ts";
import { StorageError } from "../../../src/storage/backend.ts";
import { CredentialSource, credentialSource } from "../../../src/storage/s3/s3_credentials.ts";
import { bucketAddress, openS3 } from "../../../src/storage/s3/s3_open.ts";
import { makeCertificates, openssl } from "../certificates.ts";
import { fails } from "../conformance.ts";
import { contentOf, never, someBytes, textPath } from "../contents.ts";
import { freePort, s3Config } from "../versitygw.ts";

Deno.test("s3: AWS buckets are addressed by host name, others by path, unless told otherwise", () => {
  const address = (
    endpoint: string | null,
    bucket: string,
    region = "eu-west-1",
    addressingStyle: S3Config["addressingStyle"] = "auto",
  ) => {
    const { origin, host, basePath } = bucketAddress({ endpoint, bucket, region, addressingStyle });
    return [origin, host, basePath];
  };
  const aws = "s3.eu-west-1.amazonaws.com";
  assertEquals(address(null, "b"), [`https://b.${aws}`, `b.${aws}`, ""]);
  assertEquals(address(null, "b.c"), [`https://${aws}`, aws, "/b.c"]);
  assertEquals(address(null, "b", "cn-north-1")[1], "b.s3.cn-north-1.amazonaws.com.cn");
  assertEquals(address("http://h:9000/", "b"), ["http://h:9000", "h:9000", "/b"]);
  assertEquals(address("https://h:443/base", "b"), ["https://h", "h", "/base/b"]);
  assertEquals(address("h.example", "b"), ["https://h.example", "h.example", "/b"]);
  assertEquals(address("https://" + aws, "b"), [`https://b.${aws}`, `b.${aws}`, ""]);
  assertEquals(address(null, "b", "eu-west-1", "path"), [`https://${aws}`, aws, "/b"]);
  assertEquals(address("http://h:9000/base", "b", "r", "virtual"), [
    "http://b.h:9000",
    "b.h:9000",
    "/base",
  ]);
  assertThrows(() => address("http://", "b"), StorageError, "no address");
});

Deno.test("s3: credentials come from the configuration, then from the environment", async () => {
  const environment: Record<string, string> = {
    AWS_ACCESS_KEY_ID: "env",
    AWS_SECRET_ACCESS_KEY: "env-secret",
    AWS_SESSION_TOKEN: "token",
  };
  const from = (accessKey: string | null, secretKey: string | null) =>
    credentialSource(s3Config("", { accessKey, secretKey }), (name) => environment[name]).get(0);
  assertEquals(await from("own", "own-secret"), {
    accessKeyId: "own",
    secretAccessKey: "own-secret",
  });
  assertEquals(await from(null, null), {
    accessKeyId: "env",
    secretAccessKey: "env-secret",
    sessionToken: "token",
  });
});

Deno.test("s3: credentials are renewed before they end, once for all who ask", async () => {
  let loads = 0;
  const source = new CredentialSource(null, () => {
    loads++;
    const expiration = new Date(loads * 3_600_000);
    return Promise.resolve({ accessKeyId: `k${loads}`, secretAccessKey: "s", expiration });
  });
  await Promise.all([source.get(0), source.get(0)]);
  assertEquals(loads, 1);
  assertEquals((await source.get(3_000_000)).accessKeyId, "k1");
  assertEquals((await source.get(3_590_000)).accessKeyId, "k1");
  assertEquals((await source.get(3_590_000)).accessKeyId, "k2");
  const refused = await source.get(3_590_000);
  const others = await Promise.all([1, 2, 3].map(() => source.replace(refused, 3_590_000)));
  assertEquals(others.map((credentials) => credentials?.accessKeyId), ["k3", "k3", "k3"]);
  assertEquals((await source.replace(refused, 3_590_000))?.accessKeyId, "k3");
});

Deno.test("s3: refused credentials are looked up anew now and then, not at each refusal", async () => {
  let loads = 0;
  const source = new CredentialSource(null, () => {
    loads++;
    return Promise.resolve({ accessKeyId: "wrong", secretAccessKey: "s" });
  });
  const refused = await source.get(0);
  for (let second = 1; second < 20; second++) {
    assertEquals(await source.replace(refused, second * 1000), null);
  }
  assertEquals(loads, 3);
});

Deno.test("s3: a request whose key is refused is sent again with the one in the file now", async () => {
  const path = await Deno.makeTempFile();
  await Deno.writeTextFile(path, "first\n");
  const seen: string[] = [];
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    (request) => {
      const id = /Credential=([^/]+)/.exec(request.headers.get("authorization") ?? "")![1]!;
      seen.push(id);
      const refused = new Response("<Error><Code>InvalidAccessKeyId</Code></Error>", {
        status: 403,
      });
      return id === valid ? new Response(null, { status: 204 }) : refused;
    },
  );
  const backend = await openS3(
    s3Config(`http://127.0.0.1:${server.addr.port}`, { accessKeyFile: path }),
  );
  let valid = "first";
  try {
    await backend.delete(textPath("x"), never);
    valid = "second";
    await Deno.writeTextFile(path, "second\n");
    await backend.delete(textPath("x"), never);
    assertEquals(seen, ["first", "first", "second"]);
    valid = "third";
    await fails("denied", () => backend.delete(textPath("x"), never));
    assertEquals(seen.length, 4);
  } finally {
    await backend.close();
    stop.abort();
    await server.finished;
    await Deno.remove(path);
  }
});

Deno.test("s3: credentials that cannot be had are denied with where they are looked for", async () => {
  const source = new CredentialSource(null, () => Promise.reject(new Error("no profile")));
  const error = await fails("denied", async () => await source.get(0));
  assertStringIncludes(error.message, "no profile");
  assertStringIncludes(error.message, "AWS_ACCESS_KEY_ID");
});

Deno.test("s3: keys from files are read again when the files were replaced", async () => {
  const dir = await Deno.makeTempDir();
  try {
    const secretKeyFile = `${dir}/secret`;
    await Deno.writeTextFile(secretKeyFile, "old\n");
    const source = credentialSource(
      s3Config("", { accessKey: "id", secretKey: "old", secretKeyFile }),
      () => undefined,
    );
    const secretAt = async (ms: number) => (await source.get(ms)).secretAccessKey;
    const now = Date.now();
    assertEquals(await secretAt(now), "old");
    await Deno.writeTextFile(secretKeyFile, "newer\n");
    assertEquals(await secretAt(now), "old");
    // Looked at beside a request, whose own keys are still good.
    await secretAt(now + 120_000);
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(await secretAt(now), "newer");
    await Deno.remove(secretKeyFile);
    await secretAt(now + 120_000);
    assertEquals(await secretAt(now), "newer");
    const error = await fails("denied", async () => await source.get(now + 3_600_000));
    assertStringIncludes(error.message, secretKeyFile);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
});

Deno.test({
  name: "s3: certificates are verified, unless the operator says otherwise",
  ignore: !(await openssl(".", "version")),
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await makeCertificates(dir);
    const stop = new AbortController();
    const server = Deno.serve({
      port: 0,
      hostname: "127.0.0.1",
      cert: await Deno.readTextFile(`${dir}/leaf.pem`),
      key: await Deno.readTextFile(`${dir}/leaf.key`),
      signal: stop.signal,
      onListen: () => {},
    }, async (request) => {
      await request.arrayBuffer();
      return new Response(null, { headers: { etag: '"e"' } });
    });
    const store = async (changes: Partial<S3Config>) => {
      const endpoint = `https://127.0.0.1:${server.addr.port}`;
      const backend = await openS3(s3Config(endpoint, changes));
      try {
        return await backend.put(textPath("x"), contentOf(someBytes(100_000)), never);
      } finally {
        await backend.close();
      }
    };
    try {
      assertStringIncludes((await fails("denied", () => store({}))).message, "ca_cert_path");
      assertEquals(await store({ caCertPath: `${dir}/ca.pem` }), { etag: '"e"' });
      assertEquals(await store({ verifySsl: false }), { etag: '"e"' });
      await fails("permanent", () => store({ caCertPath: `${dir}/none.pem` }));
    } finally {
      stop.abort();
      await server.finished;
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "s3: a server that asks for a certificate gets ours",
  ignore: !(await openssl(".", "version")),
  fn: async () => {
    const dir = await Deno.makeTempDir();
    await makeCertificates(dir);
    const port = freePort();
    const server = new Deno.Command("openssl", {
      args:
        `s_server -accept 127.0.0.1:${port} -cert leaf.pem -key leaf.key -CAfile ca.pem -Verify 1 -verify_return_error -www`
          .split(" "),
      cwd: dir,
      stdout: "null",
      stderr: "null",
    }).spawn();
    const read = async (changes: Partial<S3Config>) => {
      const backend = await openS3(s3Config(`https://127.0.0.1:${port}`, changes));
      try {
        await backend.getRange(textPath("x"), 0, 10, { signal: never });
      } finally {
        await backend.close();
      }
    };
    const ca = { caCertPath: `${dir}/ca.pem` };
    const ours = { clientCertPath: `${dir}/leaf.pem`, clientKeyPath: `${dir}/leaf.key` };
    try {
      await listening(port);
      // What answers behind the handshake is no S3.
      await fails("corrupt", () => read({ ...ca, ...ours }));
      assertStringIncludes((await fails("denied", () => read(ca))).message, "client_cert_path");
    } finally {
      server.kill();
      await server.status;
      await Deno.remove(dir, { recursive: true });
    }
  },
});

async function listening(port: number): Promise<void> {
  for (let tries = 0;; tries++) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return;
    } catch (error) {
      if (tries === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

Deno.test("s3: requests go through the proxy of the environment, but not those it excepts", async () => {
  const seen: string[] = [];
  const stop = new AbortController();
  const proxy = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    (request) => {
      seen.push(new URL(request.url).host);
      return new Response(null, { headers: { etag: '"e"', "content-length": "3" } });
    },
  );
  const head = async (noProxy: string) => {
    const script = new URL("./head_object.ts", import.meta.url).pathname;
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, "http://bucket.invalid:8080"],
      env: { HTTP_PROXY: `http://127.0.0.1:${proxy.addr.port}`, NO_PROXY: noProxy },
    });
    return new TextDecoder().decode((await command.output()).stdout);
  };
  try {
    assertEquals(await head(""), "3\n");
    assertEquals(seen, ["bucket.invalid:8080"]);
    assertEquals(await head("bucket.invalid"), "transient\n");
    assertEquals(seen.length, 1);
  } finally {
    stop.abort();
    await proxy.finished;
  }
});
