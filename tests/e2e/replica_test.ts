/**
 * Replicas of a primary, each a real daemon: what they read, and that they never write.
 *
 * @module
 */

import { assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { FEED_HEAD } from "../../src/cluster/feed_format.ts";
import {
  CIRCLE,
  OBJECT_PAGE,
  PEER_HEADER,
  PEER_VERSION,
  READERS,
} from "../../src/storage/peer/peer_protocol.ts";
import { makeCertificates } from "../storage/certificates.ts";
import { freePort } from "../storage/versitygw.ts";
import {
  BINARY,
  DaemonProcess,
  hasProgram,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "./daemon_process.ts";
import { ReadOnlyS3 } from "./read_only_s3.ts";

const NAME = "main/a.c,v";
const noWatch = !mayWatch();

type Settings = Readonly<Record<string, unknown>>;

/** The server as a depot's storage. */
function s3Of({ endpoint }: ReadOnlyS3): Settings {
  return { type: "s3", endpoint, bucket: "bucket", access_key: "k", secret_key: "s" };
}

/** A depot with a daemon. */
async function startDaemon(dir: string, name: string, settings: Settings): Promise<DaemonProcess> {
  const depot = `${dir}/${name}`, config = `${dir}/${name}.json`;
  Deno.mkdirSync(depot, { recursive: true });
  const document = { depot_path: depot, ...settings };
  Deno.writeTextFileSync(config, JSON.stringify(document));
  return await DaemonProcess.start(depot, ["--config", config]);
}

/** What a program under the library reads. */
async function read(daemon: DaemonProcess, name = NAME): Promise<string> {
  const env = shimEnv(daemon.depot);
  return (await run("cat", [`${daemon.depot}/${name}`], { env })).stdout;
}

function exists(path: string): boolean {
  try {
    return Deno.lstatSync(path).isFile;
  } catch {
    return false;
  }
}

const has = (daemon: DaemonProcess, name = NAME) => exists(`${daemon.depot}/${name}`);

/** Writes as p4d does: beside the file, then renamed. */
function write(daemon: DaemonProcess, content: string, name = NAME): void {
  const file = `${daemon.depot}/${name}`;
  Deno.mkdirSync(file.replace(/\/[^/]*$/, ""), { recursive: true });
  Deno.writeTextFileSync(`${file}.new`, content);
  Deno.renameSync(`${file}.new`, file);
}

function command(daemon: DaemonProcess, ...args: string[]) {
  return run(BINARY, [args[0]!, "--depot-path", daemon.depot, ...args.slice(1)]);
}

Deno.test("a replica with a key that may only read works, and asks for nothing else", async () => {
  using dir = new TempDir();
  await using server = new ReadOnlyS3();
  for (const name of ["a", "b", "c"]) server.put(`/bucket/depot/main/${name},v`, name.repeat(1000));
  await using replica = await startDaemon(dir.path, "depot", {
    read_only: true,
    revalidate_after: 0,
    dirty_wait: 0,
    max_cache_bytes: 2500,
    low_watermark_bytes: 2400,
    delete_policy: "tombstone",
    delete_grace: 0,
    primary: s3Of(server),
  });
  for (const name of ["a", "b", "c", "a"]) {
    assertEquals(await read(replica, `main/${name},v`), name.repeat(1000));
  }
  await until("one is evicted", () => {
    const names = ["a", "b", "c"].filter((name) => has(replica, `main/${name},v`));
    return names.length < 3;
  });
  // What a primary would do about these, a replica leaves.
  write(replica, "p4d's own", "main/own,v");
  Deno.removeSync(`${replica.depot}/main/own,v`);
  const env = shimEnv(replica.depot);
  for (const name of ["a", "b", "c"]) {
    await run("rm", ["-f", `${replica.depot}/main/${name},v`], { env });
  }
  assertEquals((await command(replica, "gc")).code, 1);
  assertEquals((await command(replica, "flush")).code, 1);
  const status = JSON.parse((await command(replica, "status", "--json")).stdout);
  assertEquals(status.mode, "readonly");
  assertEquals(await replica.stop(), 0);
  const kinds = new Set(server.requests.map((line) => line.split(" ")[0]));
  assertEquals([...kinds].filter((method) => method !== "GET" && method !== "HEAD"), []);
});

Deno.test("an unchanged archive is compared without being sent", async () => {
  using dir = new TempDir();
  await using server = new ReadOnlyS3();
  const path = `/bucket/depot/${NAME}`;
  server.put(path, "one");
  await using replica = await startDaemon(dir.path, "depot", {
    read_only: true,
    revalidate_after: 0,
    feed_poll_interval: 0,
    primary: s3Of(server),
    http_listen: `unix:${dir.path}/http.sock`,
  });
  assertEquals(await read(replica), "one");
  server.requests.length = 0;
  assertEquals(await read(replica), "one");
  assertEquals(server.requests, [`GET ${path.replace(",", "%2C")}`]);
  server.put(path, "two");
  assertEquals(await read(replica), "two");
  const metrics = await run("curl", [
    "-s",
    "--unix-socket",
    `${dir.path}/http.sock`,
    "http://localhost/metrics",
  ]);
  // The first open, too, was compared after its restore: with 0 nothing stays fresh.
  for (const [result, count] of [["unchanged", 2], ["replaced", 1]]) {
    const line = metrics.stdout.split("\n").find((each) => each.includes(`result="${result}"`));
    assertMatch(line ?? "", /^p4cache_revalidations_total\{.*mode="readonly".*\} \d$/);
    assertEquals(line?.at(-1), String(count));
  }
});

Deno.test(
  "a replica follows the primary's feed: old copies go, within seconds, also without the library",
  {
    ignore: noWatch,
  },
  async () => {
    using dir = new TempDir();
    const store = `${dir.path}/store`;
    Deno.mkdirSync(store);
    const primary = { type: "nfs", path: store };
    const settings = { read_only: true, revalidate_after: 3600, feed_poll_interval: 1, primary };
    const newPrimary = (more = {}) =>
      startDaemon(dir.path, "primary", { change_feed: true, primary, ...more });
    const first = await newPrimary();
    write(first, "one\n");
    assertEquals((await command(first, "flush", "--wait")).code, 0);
    // Without a feed a replica looks for one only now and then.
    await until("there is a feed", () => exists(`${store}/${FEED_HEAD}`));
    await using replica = await startDaemon(dir.path, "replica", settings);
    await until("the feed is followed", () => replica.log().includes("Following the change feed"));
    assertEquals(await read(replica), "one\n");
    write(first, "two\n");
    assertEquals((await command(first, "flush", "--wait")).code, 0);
    await until("the old copy goes", () => !has(replica));
    assertEquals(await read(replica), "two\n");
    // Nothing of the feed is a depot file.
    const listed = await command(replica, "ls");
    assertEquals([listed.code, listed.stdout], [0, `${NAME}\n`]);
    // The primary dies, and what it stored last may be untold: everything is compared once more.
    await first.kill();
    Deno.writeTextFileSync(`${store}/next`, "three\n");
    Deno.renameSync(`${store}/next`, `${store}/${NAME}`);
    assertEquals(await read(replica), "two\n", "nobody told of it yet");
    // A scan would store the depot's file again, which changed just before the kill.
    await using _second = await newPrimary({ skip_startup_scan: true });
    await until("the new writer is noticed", async () => await read(replica) === "three\n");
    assertStringIncludes(replica.log(), "its writer began anew");
  },
);

Deno.test("a revision that the primary has not stored yet is waited for", async () => {
  using dir = new TempDir();
  await using server = new ReadOnlyS3();
  const settings = { read_only: true, dirty_wait: 60, primary: s3Of(server) };
  await using replica = await startDaemon(dir.path, "depot", settings);
  const path = "/bucket/depot/main/a.c,d/1.2.gz";
  const reading = read(replica, "main/a.c,d/1.2.gz");
  const asked = () => server.requests.filter((line) => line.includes("1.2.gz")).length;
  await until("it is asked for again", () => asked() >= 2);
  server.put(path, "revision");
  assertEquals(await reading, "revision");
  // What is no archive is asked for once.
  assertEquals(await replica.fetch("main/none.txt"), "NOTFOUND");
  assertEquals(server.requests.filter((line) => line.includes("none.txt")).length, 1);
});

const noPeer = noWatch || !hasProgram("openssl");

const TOKEN = "0123456789abcdef0123456789abcdef";

/** Settings of peers whose certificates are in the directory. */
function peersIn(dir: string) {
  const token = `${dir}/token`;
  Deno.writeTextFileSync(token, `${TOKEN}\n`, { mode: 0o600 });
  const listen = (port: number) => ({
    peer_listen: `127.0.0.1:${port}`,
    peer_cert_path: `${dir}/leaf.pem`,
    peer_key_path: `${dir}/leaf.key`,
    peer_token_file: token,
  });
  const peer = (port: number) => ({
    type: "peer",
    endpoint: `https://127.0.0.1:${port}`,
    ca_cert_path: `${dir}/ca.pem`,
    token_file: token,
  });
  return { listen, peer };
}

Deno.test("what the primary has not stored is read from it, by a replica and by one behind that", {
  ignore: noPeer,
}, async () => {
  using dir = new TempDir();
  await makeCertificates(dir.path);
  const [first, second] = [freePort(), freePort()];
  const { listen, peer } = peersIn(dir.path);
  const store = `${dir.path}/store`;
  Deno.mkdirSync(store);
  const bucket = { type: "nfs", path: store };
  const replicaSettings = { read_only: true, revalidate_after: 0, dirty_wait: 0 };
  await using primary = await startDaemon(dir.path, "primary", {
    primary: bucket,
    // Nothing large is ever uploaded.
    upload_bandwidth: "1KB",
    ...listen(first),
  });
  // The primary first, for archives as new as they are; and the bucket first, then the other replica.
  await using replica = await startDaemon(dir.path, "replica", {
    ...replicaSettings,
    primary: peer(first),
    secondary: bucket,
    ...listen(second),
  });
  await using behind = await startDaemon(dir.path, "behind", {
    ...replicaSettings,
    primary: bucket,
    secondary: peer(second),
  });
  const revision = "main/a.c,d/1.2.gz";
  const content = "revision ".repeat(300_000);
  write(primary, content, revision);
  write(primary, "one\n");
  assertEquals(await read(replica, revision), content);
  assertEquals(await read(behind, revision), content);
  assertEquals(await read(replica), "one\n");
  assertEquals(await read(behind), "one\n");
  write(primary, "two\n");
  assertEquals(await read(replica), "two\n");
  // Deleted there is absent here; and what is nowhere is said to be nowhere.
  assertEquals(await behind.fetch("main/none,v"), "NOTFOUND");
});

Deno.test("a peer learns who reads through it, and refuses whom it would ask itself", {
  ignore: noPeer,
}, async () => {
  using dir = new TempDir();
  await makeCertificates(dir.path);
  const { listen, peer } = peersIn(dir.path);
  const told: (string | null)[] = [];
  await using next = Deno.serve({
    hostname: "127.0.0.1",
    port: 0,
    cert: Deno.readTextFileSync(`${dir.path}/leaf.pem`),
    key: Deno.readTextFileSync(`${dir.path}/leaf.key`),
    onListen: () => {},
  }, ({ headers }) => {
    told.push(headers.get(READERS));
    return new Response(null, { status: 404, headers: { [PEER_HEADER]: PEER_VERSION } });
  });
  const store = `${dir.path}/store`, port = freePort();
  Deno.mkdirSync(store);
  await using replica = await startDaemon(dir.path, "replica", {
    read_only: true,
    dirty_wait: 0,
    primary: { type: "nfs", path: store },
    secondary: peer(next.addr.port),
    ...listen(port),
  });
  const { id } = JSON.parse(Deno.readTextFileSync(`${replica.depot}/.p4cache/holder`));
  assertEquals(new Set(told), new Set([id]));
  using client = Deno.createHttpClient({
    caCerts: [Deno.readTextFileSync(`${dir.path}/ca.pem`)],
  });
  const ask = async (readers: string) => {
    const headers = { authorization: `Bearer ${TOKEN}`, [READERS]: readers };
    const page = `https://127.0.0.1:${port}${OBJECT_PAGE}?path=none`;
    const response = await fetch(page, { headers: { ...headers, range: "bytes=0-9" }, client });
    await response.body?.cancel();
    return response.status;
  };
  assertEquals(await ask("one,another"), 404);
  assertEquals(told.at(-1), `${id},one,another`);
  assertEquals(await ask(`one,${id}`), CIRCLE);
  assertStringIncludes(replica.log(), "peers must not read in a circle");
});
