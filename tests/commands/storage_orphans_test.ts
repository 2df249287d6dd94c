/** `p4-cache storage orphans` against a real bucket. @module */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { runProgram } from "../../src/commands/program.ts";
import { EMPTY_DIGEST } from "../../src/storage/s3/s3_signer.ts";
import { never } from "../storage/contents.ts";
import { requestsTo, type Server, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";

const binary = versitygwBinary();
const missing = binary === null ? " (skipped: no versitygw; set VERSITYGW_BIN)" : "";

/** Begins an upload of the key and leaves it. */
async function leaveUpload(server: Server, key: string): Promise<void> {
  const { requests, close } = requestsTo(server.config());
  const answer = await requests.send({
    method: "POST",
    key,
    query: { uploads: "" },
    payloadDigest: EMPTY_DIGEST,
    doing: "begin an upload",
    signal: never,
  });
  await answer.cancel();
  close();
}

Deno.test({
  name: `storage orphans: left uploads are listed, and removed when asked${missing}`,
  ignore: binary === null,
  fn: async () => {
    const server = await startVersitygw(binary!);
    const depot = await Deno.makeTempDir();
    const { bucket, accessKey, secretKey } = server.config();
    const file = `${depot}/config.json`;
    const primary = {
      type: "s3",
      endpoint: server.endpoint,
      bucket,
      access_key: accessKey,
      secret_key: secretKey,
      path_prefix: "depot",
    };
    await Deno.writeTextFile(file, JSON.stringify({ depot_path: depot, primary }));
    const run = async (...args: string[]) => {
      let out = "";
      const terminal = {
        out: (text: string) => void (out += text),
        err: () => {},
        isInteractive: false,
      };
      const code = await runProgram(["storage", "orphans", "--config", file, ...args], terminal);
      assertEquals(code, 0);
      return out;
    };
    try {
      assertEquals(await run(), "0 unfinished uploads\n");
      await leaveUpload(server, "depot/a b+c,v");
      await leaveUpload(server, "depot/d,v");
      await leaveUpload(server, "elsewhere/x");
      assertEquals(await run(), "0 unfinished uploads\n");
      const listed = await run("--older-than", "0");
      assertMatch(listed, /^depot\/a b\+c,v {2}begun \d+s ago/);
      assertMatch(listed, /depot\/d,v.*\n2 unfinished uploads; --abort removes them\n$/);
      assertMatch(await run("--older-than", "0", "--abort"), /2 unfinished uploads removed\n$/);
      assertEquals(await run("--older-than", "0"), "0 unfinished uploads\n");
    } finally {
      await server.end();
      await Deno.remove(depot, { recursive: true });
    }
  },
});
