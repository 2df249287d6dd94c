/**
 * What the daemon says of its storage at start: a wrong bucket, key or permission ends it with the
 * fix; a storage that is down does not keep p4d from a depot that was served before.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { type Server, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";

const binary = versitygwBinary();
if (binary === null) console.log("tests of the probe are skipped: no versitygw");
if (!mayWatch()) console.log("tests of the probe are skipped: they need CAP_SYS_ADMIN");
const ignore = binary === null || !mayWatch();

/** The flags of a daemon on the server's bucket; those given are changed. */
function s3Args(server: Server, changes: Record<string, string> = {}): string[] {
  const { endpoint, bucket, accessKey, secretKey } = server.config();
  const flags = {
    type: "s3",
    endpoint: endpoint!,
    bucket,
    "access-key": accessKey!,
    "secret-key": secretKey!,
    ...changes,
  };
  return Object.entries(flags).flatMap(([name, value]) => [`--primary-${name}`, value]);
}

/** Keys of the objects in the bucket. */
function stored(server: Server): string[] {
  const keys = [...filesBelow(`${server.dir}/${server.config().bucket}`).keys()];
  return keys.filter((key) => !key.startsWith(".sgwtmp/"));
}

function onServer(sentence: string, test: (server: Server, depot: string) => Promise<void>) {
  Deno.test({
    name: sentence,
    ignore,
    fn: async () => {
      using dir = new TempDir();
      const depot = `${dir.path}/depot`;
      Deno.mkdirSync(depot);
      const server = await startVersitygw(binary!);
      try {
        await test(server, depot);
      } finally {
        await server.end();
      }
    },
  });
}

onServer("what cannot work ends the daemon at start with one line that says the fix", async (
  server,
  depot,
) => {
  const refuses = async (args: string[], ...parts: string[]) => {
    const out = await run(BINARY, ["--depot-path", depot, ...args]);
    const said = out.stderr.split("\n").filter((line) => line.startsWith("p4-cache: "));
    assertEquals([out.code, said.length], [1, 1], out.stderr);
    assertMatch(said[0]!, /^p4-cache: The (primary|secondary) storage cannot be /);
    for (const part of parts) assertStringIncludes(said[0]!, part);
  };
  await refuses(s3Args(server, { bucket: "no-such-bucket" }), "NoSuchBucket", "create the bucket");
  await refuses(
    s3Args(server, { "secret-key": "wrong" }),
    "the secret key is not the access key's",
  );
  await refuses(s3Args(server, { "access-key": "wrong" }), "primary");
  await refuses(s3Args(server, { endpoint: "http://127.0.0.1:1" }), "check the endpoint");
  const secondary = s3Args(server, { bucket: "no-such-bucket" })
    .map((arg) => arg.replace("--primary-", "--secondary-"));
  await refuses([...s3Args(server), ...secondary], "secondary", "NoSuchBucket");
  await refuses(["--read-only", ...s3Args(server, { bucket: "no-such-bucket" })], "NoSuchBucket");
});

onServer("the probe leaves nothing behind, and can be turned off", async (server, depot) => {
  {
    await using daemon = await DaemonProcess.start(depot, s3Args(server));
    assertEquals(await daemon.stop(), 0);
    assertEquals(stored(server), ["depot/.p4cache/lease"], "only what the daemon itself keeps");
  }
  const elsewhere = s3Args(server, { bucket: "no-such-bucket" });
  const child = new Deno.Command(BINARY, {
    args: ["--depot-path", depot, "--no-probe", "--log-file", `${depot}.log`, ...elsewhere],
    stdin: "null",
  }).spawn();
  await until(
    "it serves",
    () => Deno.readTextFileSync(`${depot}.log`).split("Serving").length === 3,
  );
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
});

onServer("P4: a depot that was served before is served while its storage is down", async (
  server,
  depot,
) => {
  {
    await using daemon = await DaemonProcess.start(depot, s3Args(server));
    Deno.writeTextFileSync(`${depot}/a,v`, "content");
    await until("it is uploaded", () => stored(server).includes("depot/a,v"));
    assertEquals(await daemon.stop(), 0);
  }
  const down = s3Args(server, { endpoint: "http://127.0.0.1:1" });
  const child = new Deno.Command(BINARY, {
    args: ["--depot-path", depot, "--log-file", `${depot}.log`, ...down],
    stdin: "null",
  }).spawn();
  await until(
    "it serves",
    () => Deno.readTextFileSync(`${depot}.log`).split("Serving").length === 3,
  );
  assertStringIncludes(Deno.readTextFileSync(`${depot}.log`), "primary storage cannot be reached");
  using conn = await Deno.connect({ transport: "unix", path: `${depot}/.p4cache/shim.sock` });
  await conn.write(new TextEncoder().encode("FETCH a,v\n"));
  const buffer = new Uint8Array(100);
  const answer = new TextDecoder().decode(buffer.subarray(0, await conn.read(buffer) ?? 0));
  assertEquals(answer, "OK 7\n");
  child.kill("SIGTERM");
  assertEquals((await child.status).code, 0);
});
