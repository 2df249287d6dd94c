/**
 * The compiled daemon on Google Cloud Storage: upload, eviction, restore, with a workload's own
 * identity.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { Buffer } from "node:buffer";
import { someBytes } from "../storage/contents.ts";
import { BUCKET, fakeGcsBinary, startFakeGcs } from "../storage/fake_gcs.ts";
import { DaemonProcess, filesBelow, mayWatch, TempDir, until } from "./daemon_process.ts";

const binary = fakeGcsBinary();
const missing = !mayWatch()
  ? "it needs CAP_SYS_ADMIN"
  : binary === null
  ? "it needs fake-gcs-server"
  : null;
if (missing !== null) console.log(`the daemon on Google Cloud Storage is skipped: ${missing}`);

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

/** Small files, an empty one, and one of several chunks. */
function makeFiles(): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let i = 0; i < 40; i++) files.set(`d${i % 3}/${i} ü,v`, someBytes(i * 500, i + 1));
  return files.set("d0/large", someBytes(20 * 1024 * 1024, 99));
}

Deno.test({
  name: "files live through upload, eviction and restore on Google Cloud Storage",
  ignore: missing !== null,
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`;
    for (let i = 0; i < 3; i++) Deno.mkdirSync(`${depot}/d${i}`, { recursive: true });
    const server = await startFakeGcs(binary!);
    let exchanged = 0;
    const tokens = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, () => {
      exchanged++;
      return Response.json({ access_token: "secret-token", expires_in: 3600 });
    });
    try {
      Deno.writeTextFileSync(`${dir.path}/subject`, "secret-subject");
      const identity = `${dir.path}/identity.json`;
      Deno.writeTextFileSync(
        identity,
        JSON.stringify({
          type: "external_account",
          audience: "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p",
          subject_token_type: "urn:ietf:params:oauth:token-type:jwt",
          token_url: `http://127.0.0.1:${tokens.addr.port}/v1/token`,
          credential_source: { file: `${dir.path}/subject` },
        }),
        { mode: 0o600 },
      );
      const args = [
        ["type", "gcs"],
        ["endpoint", server.endpoint],
        ["bucket", BUCKET],
        ["prefix", "pfx"],
        ["credentials-file", identity],
      ].flatMap(([name, value]) => [`--primary-${name}`, value!]);
      await using daemon = await DaemonProcess.start(depot, [
        ...args,
        ...["--max-cache-bytes", "100000", "--low-watermark-bytes", "1"],
      ]);
      const files = makeFiles();
      for (const [name, bytes] of files) Deno.writeFileSync(`${depot}/${name}`, bytes);
      await until("all files are stored and evicted", () => filesBelow(depot).size === 0);
      for (const [name, bytes] of files) {
        const stored = await server.read(`pfx/${name}`);
        assert(stored !== null && same(stored, bytes), `${name} is not stored`);
      }
      for (const [name, bytes] of files) {
        // It may be evicted again before it is read.
        await until(`${name} is restored`, async () => {
          assertEquals(await daemon.fetch(name), `OK ${bytes.length}`);
          const restored = filesBelow(depot).get(name);
          if (restored === undefined) return false;
          assert(same(restored, bytes), `${name} came back otherwise`);
          return true;
        });
      }
      assertEquals(exchanged, 1);
      assert(!daemon.log().includes("secret-"), "a secret is in the log");
      assertEquals(await daemon.stop(), 0);
    } finally {
      await tokens.shutdown();
      await server.end();
    }
  },
});
