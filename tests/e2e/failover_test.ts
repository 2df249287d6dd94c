/**
 * The guide's failover: a depot with its state directory is copied to another machine, whose daemon goes
 * on with it.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import {
  BINARY,
  DaemonProcess,
  filesBelow,
  hasProgram,
  mayWatch,
  run,
  TempDir,
  until,
} from "./daemon_process.ts";
import { namespacesMissing, NetworkSpace } from "./network_spaces.ts";
import { RecordingProxy } from "./recording_proxy.ts";

const binary = versitygwBinary();
const missing = binary === null
  ? "no versitygw"
  : !hasProgram("rsync")
  ? "no rsync"
  : !mayWatch()
  ? "no fanotify"
  : await namespacesMissing();
if (missing !== null) console.log(`failover between machines is skipped: ${missing}`);

/** Time to live of the lease, s: the shortest that is allowed. */
const TTL_SECONDS = 5;

/** A depot on a machine of its own. */
interface Machine {
  readonly depot: string;
  readonly network: NetworkSpace;
  readonly proxy: RecordingProxy;
  start(): Promise<DaemonProcess>;
}

/** Two machines, and the bucket that both reach. */
interface Place {
  readonly old: Machine;
  readonly standby: Machine;
  /** What the bucket holds: path → content. */
  stored(): Map<string, string>;
}

async function between(test: (place: Place) => Promise<void>): Promise<void> {
  using dir = new TempDir();
  const server = await startVersitygw(binary!);
  const networks: NetworkSpace[] = [], proxies: RecordingProxy[] = [];
  try {
    const { bucket, accessKey, secretKey } = server.config();
    const machine = async (name: string): Promise<Machine> => {
      const network = await NetworkSpace.create();
      networks.push(network);
      const proxy = new RecordingProxy(server.endpoint, network.host);
      proxies.push(proxy);
      const depot = `${dir.path}/${name}/depot`, config = `${dir.path}/${name}/config.json`;
      Deno.mkdirSync(depot, { recursive: true });
      const primary = {
        type: "s3",
        endpoint: proxy.endpoint,
        bucket,
        access_key: accessKey,
        secret_key: secretKey,
      };
      Deno.writeTextFileSync(
        config,
        JSON.stringify({ primary, lease_ttl: TTL_SECONDS, shutdown_timeout: 1 }),
      );
      const start = () => DaemonProcess.start(depot, ["--config", config], network.through);
      return { depot, network, proxy, start };
    };
    const stored = () => textsOf(filesBelow(`${server.dir}/${bucket}/depot`));
    await test({ old: await machine("old"), standby: await machine("standby"), stored });
  } finally {
    for (const proxy of proxies) proxy.end();
    for (const network of networks) await network.remove();
    await server.end();
  }
}

function textsOf(files: Map<string, Uint8Array>): Map<string, string> {
  return new Map(Array.from(files, ([name, bytes]) => [name, new TextDecoder().decode(bytes)]));
}

/** Files as p4d leaves them: read-only, some large, in directories. */
function fill(depot: string): void {
  for (let i = 0; i < 30; i++) {
    write(depot, `main/dir${i % 3}/file${i},v`, `content of ${i}`.repeat(1 + i * i * 100));
  }
}

function write(depot: string, name: string, text: string): void {
  Deno.mkdirSync(`${depot}/${name}`.replace(/\/[^/]*$/, ""), { recursive: true });
  Deno.writeTextFileSync(`${depot}/${name}.tmp`, text);
  Deno.chmodSync(`${depot}/${name}.tmp`, 0o444);
  Deno.renameSync(`${depot}/${name}.tmp`, `${depot}/${name}`);
}

async function rsync(from: Machine, to: Machine, ...options: string[]): Promise<void> {
  const args = ["-aHAX", ...options, `${from.depot}/`, `${to.depot}/`];
  const { code, stderr } = await run("rsync", args);
  assertEquals(code, 0, stderr);
}

/** Objects that were stored, as paths of the depot. */
function putsOf({ proxy }: Machine): string[] {
  return proxy.writes().map(({ path }) => decodeURIComponent(path.replace(/\?.*/, "")))
    .map((path) => path.slice(path.indexOf("/depot/") + 7)).sort();
}

// deno-lint-ignore no-explicit-any
async function statusOf({ depot }: DaemonProcess): Promise<any> {
  return JSON.parse((await run(BINARY, ["status", "--json", "--depot-path", depot])).stdout);
}

async function allUploaded(daemon: DaemonProcess): Promise<void> {
  await until("all is uploaded", async () => {
    const { files, lease } = await statusOf(daemon);
    return lease.state === "held" && files.dirty === 0 && files.uploading === 0;
  });
}

const test = (name: string, body: (place: Place) => Promise<void>) =>
  Deno.test({ name, ignore: missing !== null, fn: () => between(body) });

test("failover after a clean stop uploads nothing again", async ({ old, standby, stored }) => {
  const before = await (async () => {
    await using daemon = await old.start();
    fill(old.depot);
    await until("all is stored", () => stored().size === 30);
    await allUploaded(daemon);
    const { code } = await run(BINARY, ["evict", "main/dir0", "--depot-path", old.depot]);
    assertEquals(code, 0);
    const all = stored();
    assertEquals(await daemon.stop(), 0);
    return all;
  })();
  // p4d wrote once more before it was stopped.
  write(old.depot, "main/dir1/file1,v", "a revision later");
  await rsync(old, standby);
  await using daemon = await standby.start();
  await until(
    "the later revision is stored",
    () => stored().get("main/dir1/file1,v") === "a revision later",
  );
  await allUploaded(daemon);
  assertEquals(putsOf(standby), ["main/dir1/file1,v"]);
  assertStringIncludes(daemon.log(), "epoch 2");
  assertEquals(await daemon.fetch("main/dir0/file0,v"), "OK 12", "an evicted file");
  for (const [name, text] of textsOf(filesBelow(standby.depot))) {
    if (name !== "main/dir1/file1,v") assertEquals(text, before.get(name), name);
  }
});

test("P1: failover after kill -9 uploads what was dirty, and nothing else", async ({ old, standby, stored }) => {
  const oracle = await (async () => {
    await using daemon = await old.start();
    fill(old.depot);
    await until("all is stored", () => stored().size === 30);
    await allUploaded(daemon);
    await old.network.cut();
    for (let i = 0; i < 5; i++) write(old.depot, `main/new${i},v`, `dirty ${i}`);
    write(old.depot, "main/dir2/file2,v", "dirty too");
    await until("they are noticed", async () => (await statusOf(daemon)).files.dirty === 6);
    await daemon.kill();
    return textsOf(filesBelow(old.depot));
  })();
  await rsync(old, standby);
  await using daemon = await standby.start();
  await allUploaded(daemon);
  const dirty = [0, 1, 2, 3, 4].map((i) => `main/new${i},v`);
  assertEquals(putsOf(standby), ["main/dir2/file2,v", ...dirty]);
  assertEquals(stored(), oracle);
});

test("without the state directory nothing that is stored is sent again", async ({ old, standby, stored }) => {
  {
    await using daemon = await old.start();
    fill(old.depot);
    await until("all is stored", () => stored().size === 30);
    await allUploaded(daemon);
    await daemon.kill();
  }
  write(old.depot, "main/dir1/file4,v", "a revision later");
  await rsync(old, standby, "--exclude=/.p4cache");
  await using daemon = await standby.start();
  await allUploaded(daemon);
  assertEquals(putsOf(standby), ["main/dir1/file4,v"]);
  assert(stored().get("main/dir1/file4,v") === "a revision later");
  assertEquals(stored(), textsOf(filesBelow(standby.depot)));
});
