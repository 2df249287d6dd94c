/**
 * A storage that begins to refuse while the daemon runs: loud, counted, tried again; nothing is
 * evicted, nothing is lost, and nothing is called absent.
 *
 * @module
 */

import { assert, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import { DaemonProcess, filesBelow, mayWatch, TempDir, until } from "./daemon_process.ts";

const binary = versitygwBinary();

Deno.test({
  name: "P1, P3: a bucket that goes away at run time is told, and its return heals everything",
  ignore: binary === null || !mayWatch(),
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`, metrics = `${dir.path}/metrics.prom`;
    Deno.mkdirSync(depot);
    const server = await startVersitygw(binary!);
    try {
      const { endpoint, bucket, accessKey, secretKey } = server.config();
      Deno.writeTextFileSync(`${dir.path}/secret`, secretKey!, { mode: 0o644 });
      const args = ["--primary-type", "s3", "--primary-endpoint", endpoint!, "--primary-bucket"]
        .concat([bucket, "--primary-access-key", accessKey!])
        .concat(["--primary-secret-key-file", `${dir.path}/secret`])
        .concat(["--low-watermark-bytes", "1", "--metrics-file", metrics])
        .concat(["--metrics-interval", "1", "--max-requests-per-second", "500"]);
      await using daemon = await DaemonProcess.start(depot, args);
      assertStringIncludes(daemon.log(), "Others can read the secret");
      Deno.writeTextFileSync(`${depot}/early`, "stored before");
      await until("it is stored and evicted", () => filesBelow(depot).size === 0);

      const there = `${server.dir}/${bucket}`;
      Deno.renameSync(there, `${dir.path}/away`);
      Deno.writeTextFileSync(`${depot}/late`, "written meanwhile");
      await until("it is told", () => daemon.log().includes("NoSuchBucket"));
      assertStringIncludes(daemon.log(), "create the bucket, or correct its name or the endpoint");
      assertMatch(await daemon.fetch("early"), /^ERROR .*NoSuchBucket/);
      assertMatch(await daemon.fetch("never"), /^ERROR .*NoSuchBucket/);
      const counted =
        /p4cache_backend_errors_total\{[^}]*operation="put",kind="denied"[^}]*\} [1-9]/;
      await until("it is counted", () => counted.test(Deno.readTextFileSync(metrics)));
      assert(filesBelow(depot).has("late"), "a file was evicted that is nowhere else");

      Deno.renameSync(`${dir.path}/away`, there);
      await until("it is stored", () => filesBelow(`${there}/depot`).has("late"));
      await until("it is served", async () => await daemon.fetch("early") === "OK 13");
    } finally {
      await server.end();
    }
  },
});
