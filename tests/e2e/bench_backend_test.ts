/** `p4-cache bench backend`: what it says, and that it leaves nothing. @module */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { RESULTS } from "../../src/storage/bench.ts";
import { BINARY, makePlaces, run, TempDir, until } from "./daemon_process.ts";

/** A depot and a store, and the command's arguments for them. */
function make(dir: string): { store: string; args: string[] } {
  const { depot, store, storage } = makePlaces(dir);
  const where = ["--depot-path", depot, ...storage];
  return { store, args: ["bench", "backend", ...where, "--seconds", "1", "--large-mib", "9"] };
}

/** Names of the objects that are there. */
function objects(store: string): string[] {
  try {
    return Array.from(Deno.readDirSync(`${store}/.p4cache-probe`), (entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

Deno.test("a run tells every step as JSON, and removes its objects", async () => {
  using dir = new TempDir();
  const { store, args } = make(dir.path);
  const out = await run(BINARY, [...args, "--json"]);
  assertEquals(out.code, 0, out.stderr);
  const { place, results } = JSON.parse(out.stdout);
  assertStringIncludes(place, `nfs:${store}/.p4cache-probe/bench-`);
  assertEquals(results.length, RESULTS);
  for (const result of results) assert(result.objects > 0 && result.seconds > 0);
  assertEquals(objects(store), []);
  assertEquals([...Deno.readDirSync(`${dir.path}/depot`)], []);
});

Deno.test("a run that is interrupted removes its objects too", async () => {
  using dir = new TempDir();
  const { store, args } = make(dir.path);
  const child = new Deno.Command(BINARY, { args, stdin: "null", stdout: "null", stderr: "piped" })
    .spawn();
  const stderr = new Response(child.stderr).text();
  await until("objects are stored", () => objects(store).length > 20);
  child.kill("SIGINT");
  assertEquals((await child.status).code, 1);
  assertStringIncludes(await stderr, "p4-cache: Stopped\n");
  assertEquals(objects(store), []);
});

Deno.test("what cannot be measured is refused in one line", async () => {
  using dir = new TempDir();
  const { args } = make(dir.path);
  const readOnly = await run(BINARY, [...args, "--read-only"]);
  assertEquals(readOnly.code, 2);
  assertStringIncludes(readOnly.stderr, "Cannot measure the storage with read_only");
  const wrong = await run(BINARY, [...args, "--seconds", "0"]);
  assertEquals(wrong.code, 2);
  assertStringIncludes(wrong.stderr, "Cannot use --seconds '0'");
  const server = ["--primary-type", "s3", "--primary-endpoint", "http://127.0.0.1:1"];
  const keys = ["--primary-bucket", "b", "--primary-access-key", "k", "--primary-secret-key", "s"];
  const down = await run(BINARY, [...args.slice(0, 4), ...server, ...keys]);
  assertEquals(down.code, 1);
  assertStringIncludes(down.stderr, "b/depot/.p4cache-probe/bench-");
  const refused = await run(BINARY, [...args.slice(0, 4), ...server, ...keys.slice(0, 2)], {
    env: { HOME: dir.path, AWS_EC2_METADATA_DISABLED: "true" },
    clearEnv: true,
  });
  assertEquals(refused.code, 1);
  assertStringIncludes(refused.stderr, "Cannot get S3 credentials");
  assert(!refused.stderr.includes("left as"), refused.stderr);
});
