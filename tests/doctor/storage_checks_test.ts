/** What the doctor finds out about a storage over the network. @module */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { loadConfig } from "../../src/config/load.ts";
import { checkStorage } from "../../src/doctor/storage_checks.ts";
import { makeCertificates, openssl } from "../storage/certificates.ts";

const noOpenssl = !await openssl("/", "version");
if (noOpenssl) console.log("tests of the doctor's clock are skipped: openssl is not installed");

/** The finding about the clock, of a server whose clock is so many seconds off. */
async function clockOf(
  dir: string,
  offSeconds: number,
  flags: [string, string | true][],
): Promise<string> {
  const pem = (name: string) => Deno.readTextFileSync(`${dir}/${name}`);
  await using server = Deno.serve({
    ...{ hostname: "127.0.0.1", port: 0, onListen: () => {} },
    ...{ cert: pem("leaf.pem"), key: pem("leaf.key") },
  }, () => {
    const date = new Date(Date.now() + offSeconds * 1000).toUTCString();
    return new Response(null, { status: 403, headers: { date } });
  });
  const given = new Map<string, string | true>([
    ["--depot-path", dir],
    ...[["--primary-type", "s3"], ["--primary-bucket", "depot"]] as [string, string][],
    ["--primary-endpoint", `https://127.0.0.1:${server.addr.port}`],
    ...flags,
  ]);
  const keys = new Map([["AWS_ACCESS_KEY_ID", "a"], ["AWS_SECRET_ACCESS_KEY", "s"]]);
  const config = loadConfig(given, (name) => keys.get(name));
  const clock = (await checkStorage(config)).find(({ check }) => check === "primary clock")!;
  return `${clock.level} ${clock.what}`;
}

Deno.test("clocks are compared over the connection that is configured, with its own CA", {
  ignore: noOpenssl,
}, async () => {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-doctor-" });
  try {
    await makeCertificates(dir);
    const ca: [string, string][] = [["--primary-ca-cert", `${dir}/ca.pem`]];
    assertMatch(await clockOf(dir, 0, ca), /^OK .* clock is [01] s off/);
    assertMatch(await clockOf(dir, -300, ca), /^WARN .* clock is (299|300|301) s off/);
    assertMatch(await clockOf(dir, 3600, ca), /^FAIL .* clock is 3\d\d\d s off/);
    // Neither is a server trusted that the backend would not trust.
    assertMatch(await clockOf(dir, 0, []), /^SKIP .* was not reached: /);
    const unverified = await clockOf(dir, 0, [["--primary-no-verify-ssl", true]]);
    assertEquals(unverified.split(" ")[0], "OK", unverified);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});
