/**
 * The access log from outside: the compiled daemon, programs under the preload library, and LMDB's own
 * tools.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import {
  BINARY,
  DaemonProcess,
  hasProgram,
  makePlaces,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "./daemon_process.ts";

const ignore = !mayWatch() || !hasProgram("mdb_dump");
if (ignore) console.log("access log tests are skipped: they need CAP_SYS_ADMIN and mdb_dump");

/** The database as mdb_dump prints it: path → seconds. */
async function dumped(dir: string): Promise<Map<string, number>> {
  const lines = (await run("mdb_dump", [dir])).stdout.split("\n").filter((l) => l.startsWith(" "));
  const found = new Map<string, number>();
  for (let i = 0; i + 1 < lines.length; i += 2) {
    const bytes = (hex: string) =>
      Uint8Array.from(hex.trim().match(/../g)!, (byte) => parseInt(byte, 16));
    const value = new DataView(bytes(lines[i + 1]!).buffer).getBigUint64(0, true);
    found.set(new TextDecoder().decode(bytes(lines[i]!)), Number(value));
  }
  return found;
}

function timeOf(seconds: number): string {
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}Z\n`;
}

Deno.test({
  name: "one cat of one file is in the log within 5 s, read by mdb_dump while the daemon runs",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    const { depot, storage } = makePlaces(dir.path), log = `${depot}/.p4cache/access`;
    const metricsFile = `${dir.path}/metrics.prom`;
    Deno.mkdirSync(`${depot}/main`);
    Deno.writeTextFileSync(`${depot}/main/a,v`, "content");
    const daemon = await DaemonProcess.start(depot, [
      ...storage,
      "--metrics-file",
      metricsFile,
      "--metrics-interval",
      "1",
    ]);
    const begun = Math.floor(Date.now() / 1000);
    await run("cat", [`${depot}/main/a,v`], { env: shimEnv(depot) });
    await until("the access is written", async () => (await dumped(log)).size > 0);
    const seconds = (await dumped(log)).get("main/a,v")!;
    assert(seconds >= begun && Date.now() / 1000 - seconds <= 6, `${seconds}, begun ${begun}`);
    await until(
      "the metrics tell of it",
      () => /^p4cache_access_db_entries\{.*\} 1$/m.test(Deno.readTextFileSync(metricsFile)),
    );
    const metrics = Deno.readTextFileSync(metricsFile);
    assertMatch(metrics, /^p4cache_access_events_total\{.*\} 1$/m);
    assertMatch(metrics, /^p4cache_access_batches_total\{.*\} 1$/m);
    assertMatch(metrics, /^p4cache_access_batch_duration_seconds_count\{.*\} 1$/m);
    const link = `${dir.path}/p4-cache-access`;
    Deno.symlinkSync(BINARY, link);
    assertEquals((await run(link, ["--db", log, "get", "main/a,v"])).stdout, timeOf(seconds));
    const inDepot = await run(BINARY, ["access", "get", "main/none"], { cwd: `${depot}/main` });
    assertEquals([inDepot.code, inDepot.stdout], [1, "NOTFOUND\n"]);
    // What was noted last is written at the end.
    Deno.writeTextFileSync(`${depot}/main/b,v`, "content");
    await run("cat", [`${depot}/main/b,v`], { env: shimEnv(depot) });
    assertEquals(await daemon.stop(), 0);
    assertEquals([...(await dumped(log)).keys()], ["main/a,v", "main/b,v"]);
    assertEquals((await run(link, ["count", "--db", log])).stdout, "2\n", "without a daemon");
  },
});

Deno.test({
  name: "a log that cannot be opened is told, and the daemon serves all the same",
  ignore,
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`;
    for (const made of [depot, `${dir.path}/store`, `${dir.path}/access`]) Deno.mkdirSync(made);
    Deno.writeTextFileSync(`${dir.path}/access/data.mdb`, "no database".repeat(1000));
    const daemon = await DaemonProcess.start(depot, [
      "--primary-type",
      "nfs",
      "--primary-path",
      `${dir.path}/store`,
      "--access-db-path",
      `${dir.path}/access`,
    ]);
    assertMatch(daemon.log(), /Accesses are not recorded: Cannot open the LMDB environment/);
    assertEquals(await daemon.stop(), 0);
  },
});

Deno.test("a reader that goes away ends an export quietly", async () => {
  using dir = new TempDir();
  await fill(dir.path, 50_000);
  const { code, stdout, stderr } = await run("bash", [
    "-c",
    `set -o pipefail; '${BINARY}' access export --db '${dir.path}' | head -n 2`,
  ]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^path,time\nf00000,\d{4}-.*Z\n$/);
});

Deno.test({
  name: "on a terminal a long query shows how far it is, and none of it gets into the file",
  ignore: !hasProgram("script"),
  fn: async () => {
    using dir = new TempDir();
    await fill(dir.path, 200_000);
    const { stdout } = await run("script", [
      "-qec",
      `'${BINARY}' access export --db '${dir.path}' --output '${dir.path}/out'`,
      "/dev/null",
    ]);
    assertMatch(stdout, /200000 entries/);
    const lines = Deno.readTextFileSync(`${dir.path}/out`).split("\n");
    assertEquals(lines.length, 200_002);
  },
});

/** Writes an access log of so many entries. */
async function fill(dir: string, count: number): Promise<void> {
  const kv = new Kv(dir, 1 << 28);
  const batch = new KvBatch();
  const db = kv.database("");
  const value = new Uint8Array(8);
  for (let i = 0; i < count; i++) batch.put(db, `f${String(i).padStart(5, "0")}`, value);
  await kv.apply(batch.bytes());
  kv.close();
}
