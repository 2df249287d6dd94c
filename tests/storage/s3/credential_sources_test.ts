/**
 * Each place that S3 credentials can come from, with AWS played by the test. Every case runs in a
 * process of its own, for its environment.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";

const NEXT_YEAR = new Date(Date.now() + 365 * 86_400_000).toISOString();

/** What instance, container, STS and SSO portal answer; each with a key of its own name. */
function answer(request: Request): Response {
  const { pathname } = new URL(request.url);
  const keys = (id: string) => ({
    AccessKeyId: id,
    SecretAccessKey: "s",
    Token: "t",
    Expiration: NEXT_YEAR,
    Code: "Success",
  });
  const role = "/latest/meta-data/iam/security-credentials/";
  if (pathname === "/latest/api/token") {
    return request.method === "PUT" ? new Response("token") : new Response(null, { status: 405 });
  }
  if (pathname.startsWith(role)) {
    const isV2 = request.headers.get("x-aws-ec2-metadata-token") === "token";
    if (!isV2) return new Response(null, { status: 401 });
    return pathname === role ? new Response("role") : Response.json(keys("INSTANCE"));
  }
  if (pathname === "/container") {
    const allowed = request.headers.get("authorization") === "secret";
    return allowed ? Response.json(keys("CONTAINER")) : new Response(null, { status: 401 });
  }
  if (pathname === "/federation/credentials") {
    return Response.json({
      roleCredentials: {
        accessKeyId: "SSO",
        secretAccessKey: "s",
        sessionToken: "t",
        expiration: Date.parse(NEXT_YEAR),
      },
    });
  }
  return new Response(
    '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">' +
      "<AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>WEBIDENTITY</AccessKeyId>" +
      "<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>" +
      `<Expiration>${NEXT_YEAR}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>` +
      "</AssumeRoleWithWebIdentityResponse>",
    { headers: { "content-type": "text/xml" } },
  );
}

const CONFIG = `[profile here]
region = eu-west-1
[profile sso]
sso_start_url = https://example.awsapps.com/start
sso_region = eu-west-1
sso_account_id = 123456789012
sso_role_name = depot
`;

/** Runs the printing script against the played AWS; `env` may name its address and the folder. */
async function found(env: (url: string, dir: string) => Record<string, string>, profile?: string) {
  const dir = await Deno.makeTempDir();
  const stop = new AbortController();
  const server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", signal: stop.signal, onListen: () => {} },
    answer,
  );
  try {
    await Deno.mkdir(`${dir}/.aws/sso/cache`, { recursive: true });
    await Deno.writeTextFile(`${dir}/.aws/config`, CONFIG);
    await Deno.writeTextFile(
      `${dir}/.aws/credentials`,
      "[here]\naws_access_key_id = PROFILE\naws_secret_access_key = s\n",
    );
    const session = new Uint8Array(
      await crypto.subtle.digest(
        "SHA-1",
        new TextEncoder().encode("https://example.awsapps.com/start"),
      ),
    );
    const name = Array.from(session, (byte) => byte.toString(16).padStart(2, "0")).join("");
    await Deno.writeTextFile(
      `${dir}/.aws/sso/cache/${name}.json`,
      JSON.stringify({ accessToken: "t", expiresAt: NEXT_YEAR }),
    );
    await Deno.writeTextFile(`${dir}/web-token`, "jwt");
    const script = new URL("./print_access_key.ts", import.meta.url).pathname;
    const url = `http://127.0.0.1:${server.addr.port}`;
    const command = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", script, ...profile === undefined ? [] : [profile]],
      clearEnv: true,
      env: {
        PATH: Deno.env.get("PATH") ?? "",
        HOME: dir,
        AWS_EC2_METADATA_DISABLED: "true",
        ...env(url, dir),
      },
    });
    const { stdout, stderr } = await command.output();
    const decoder = new TextDecoder();
    return decoder.decode(stdout).trim() || decoder.decode(stderr);
  } finally {
    stop.abort();
    await server.finished;
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test("s3: credentials of a profile of the shared configuration are found", async () => {
  assertEquals(await found(() => ({ AWS_PROFILE: "here" })), "PROFILE");
  const environment = () => ({ AWS_ACCESS_KEY_ID: "ENV", AWS_SECRET_ACCESS_KEY: "s" });
  assertEquals(await found(environment), "ENV");
  assertEquals(await found(environment, "here"), "PROFILE");
});

Deno.test("s3: credentials of an SSO session are found", async () => {
  assertEquals(await found((url) => ({ AWS_ENDPOINT_URL_SSO: url }), "sso"), "SSO");
});

Deno.test("s3: credentials for a web identity are found", async () => {
  const env = (url: string, dir: string) => ({
    AWS_ENDPOINT_URL_STS: url,
    AWS_WEB_IDENTITY_TOKEN_FILE: `${dir}/web-token`,
    AWS_ROLE_ARN: "arn:aws:iam::123456789012:role/depot",
  });
  assertEquals(await found(env), "WEBIDENTITY");
});

Deno.test("s3: credentials of a container are found", async () => {
  const env = (url: string) => ({
    AWS_CONTAINER_CREDENTIALS_FULL_URI: `${url}/container`,
    AWS_CONTAINER_AUTHORIZATION_TOKEN: "secret",
  });
  assertEquals(await found(env), "CONTAINER");
});

Deno.test("s3: credentials of an instance are found, asked for with a session token", async () => {
  const env = (url: string) => ({
    AWS_EC2_METADATA_DISABLED: "false",
    AWS_EC2_METADATA_SERVICE_ENDPOINT: url,
  });
  assertEquals(await found(env), "INSTANCE");
});
