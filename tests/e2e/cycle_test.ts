/**
 * A real archive tree through everything that can happen to it, on each kind of storage.
 *
 * @module
 */

import { assert, assertEquals } from "deno-std/assert/mod.js";
import { pathToBytes } from "../../src/depot_path.ts";
import type { Backend } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import {
  ACCOUNT,
  ACCOUNT_KEY,
  azuriteMissing,
  CONTAINER,
  startAzurite,
} from "../storage/azurite.ts";
import { never } from "../storage/contents.ts";
import { startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import {
  DaemonProcess,
  filesBelow,
  hasProgram,
  mayWatch,
  run,
  shimEnv,
  TempDir,
  until,
} from "./daemon_process.ts";
import { isArchive, makeArchives, REVISIONS, submit } from "./rcs_archives.ts";

/** A place that keeps objects, seen from outside. */
interface Store {
  readonly args: readonly string[];
  /** What it holds: path → bytes. */
  objects(): Promise<Map<string, Uint8Array>>;
}

/** A place where objects are plain files; a server makes their directory with the first one. */
function directory(dir: string, args: readonly string[]): Store {
  Deno.mkdirSync(dir, { recursive: true });
  return { args, objects: () => Promise.resolve(filesBelow(dir)) };
}

/** A container in the emulator, read as a replica would; objects are fetched when they change. */
function container(backend: Backend, args: readonly string[]): Store {
  const known = new Map<string, { etag: string; bytes: Uint8Array }>();
  const objects = async () => {
    const found = new Map<string, Uint8Array>();
    for await (const { path, etag, size } of backend.list("", never)) {
      let object = known.get(path);
      if (object?.etag !== etag) {
        object = { etag, ...await backend.getRange(path, 0, size, { signal: never }) };
        known.set(path, object);
      }
      found.set(new TextDecoder().decode(pathToBytes(path)), object.bytes);
    }
    return found;
  };
  return { args, objects };
}

const same = (a: Uint8Array, b: Uint8Array | undefined) =>
  b !== undefined && a.length === b.length && a.every((byte, i) => byte === b[i]);

/** Every file's bytes are in the depot or, with the same content, in the store. */
async function assertNothingLost(
  oracle: Map<string, Uint8Array>,
  depot: string,
  store: Store,
): Promise<void> {
  const local = filesBelow(depot), stored = await store.objects();
  for (const [name, bytes] of oracle) {
    const found = local.get(name) ?? stored.get(name);
    assert(same(bytes, found), `${name} is lost`);
  }
}

/** The whole life of an archive tree against one store. */
async function cycle(dir: string, store: Store): Promise<void> {
  const staging = `${dir}/staging`, depot = `${dir}/depot`;
  Deno.mkdirSync(staging);
  Deno.mkdirSync(depot);
  await makeArchives(staging);
  const staged = filesBelow(staging);
  const oracle = new Map([...staged].filter(([name]) => isArchive(name)));
  const storedAll = async () => {
    const stored = await store.objects();
    return [...oracle].every(([name, bytes]) => same(bytes, stored.get(name)));
  };

  // Written and uploaded.
  await using first = await DaemonProcess.start(depot, store.args);
  for (const [name, bytes] of oracle) submit(depot, name, bytes);
  await until("every file is in the store", storedAll);
  const names = [...(await store.objects()).keys()];
  assertEquals(names.filter((name) => name.includes("tmp.")), []);
  assertEquals(await first.stop(), 0);

  // Evicted by a small watermark.
  const small = [...store.args, "--max-cache-bytes", "20000", "--low-watermark-bytes", "10000"];
  await using second = await DaemonProcess.start(depot, small);
  const localBytes = () =>
    [...filesBelow(depot).values()].reduce((sum, bytes) => sum + bytes.length, 0);
  await until("the cache is below its watermark", () => localBytes() <= 10_000);
  await assertNothingLost(oracle, depot, store);

  // Every revision comes back through the shim.
  const env = shimEnv(depot);
  for (const name of oracle.keys()) {
    if (!name.endsWith(",v")) continue;
    const plain = name.slice(0, -2);
    for (let r = 1; r <= REVISIONS; r++) {
      const out = await run("co", ["-q", `-p1.${r}`, `${depot}/${name}`], { env });
      assert(same(staged.get(`${plain}.rev${r}`)!, out.bytes), `${plain} 1.${r}: ${out.stderr}`);
    }
  }
  for (const [name, bytes] of oracle) {
    if (name.endsWith(",v")) continue;
    const out = await run("cat", [`${depot}/${name}`], { env });
    assert(same(bytes, out.bytes), `${name}: ${out.stderr}`);
  }
  assertEquals(await second.stop(), 0);

  // A new revision of evicted archives is checked in, and uploaded again.
  await using third = await DaemonProcess.start(depot, small);
  const changed = [...oracle.keys()].filter((name) => name.endsWith(",v")).slice(0, 10);
  for (const name of changed) {
    // RCS pairs a working file with its archive by name.
    const work = `${dir}/${name.slice(name.lastIndexOf("/") + 1, -2)}`;
    const archive = `${depot}/${name}`;
    for (const [command, ...args] of [["co", "-q", "-l"], ["ci", "-q", "-mnew"]] as const) {
      if (command === "ci") Deno.writeTextFileSync(work, `new revision of ${name}\n`);
      const out = await run(command, [...args, work, archive], { env, cwd: dir });
      assertEquals(out.code, 0, out.stderr);
    }
    const bytes = (await run("cat", [archive], { env })).bytes;
    assert(new TextDecoder().decode(bytes).startsWith(`head\t1.${REVISIONS + 1};`), name);
    oracle.set(name, bytes);
  }
  await until("the new revisions are in the store", storedAll);

  // More is written, and the daemon dies at once.
  for (let i = 0; i < 50; i++) {
    const name = `late/f${i},v`;
    const bytes = crypto.getRandomValues(new Uint8Array(3000));
    oracle.set(name, bytes);
    submit(depot, name, bytes);
  }
  await third.kill();
  await assertNothingLost(oracle, depot, store);
  await using fourth = await DaemonProcess.start(depot, store.args);
  await until("what was written before the crash is in the store", storedAll);
  for (const [name, bytes] of oracle) {
    assertEquals((await fourth.fetch(name)).startsWith("OK "), true, name);
    assert(same(bytes, Deno.readFileSync(`${depot}/${name}`)), `${name} came back otherwise`);
  }
  assertEquals(await fourth.stop(), 0);
}

const noCycle = !mayWatch() ? "it needs CAP_SYS_ADMIN" : !hasProgram("ci") ? "it needs rcs" : null;
if (noCycle !== null) console.log(`the whole cycle is skipped: ${noCycle}`);
const noS3 = noCycle ?? (versitygwBinary() === null ? "it needs versitygw" : null);
if (noS3 !== null && noCycle === null) console.log(`the cycle over S3 is skipped: ${noS3}`);
const noAzure = noCycle ?? azuriteMissing();
if (noAzure !== null && noCycle === null) {
  console.log(`the cycle over Azure is skipped: ${noAzure}`);
}

Deno.test({
  name: "an archive tree lives through upload, eviction, restore, check-in and a crash: directory",
  ignore: noCycle !== null,
  fn: async () => {
    using dir = new TempDir();
    Deno.mkdirSync(`${dir.path}/store`);
    const args = ["--primary-type", "nfs", "--primary-path", `${dir.path}/store`];
    await cycle(dir.path, directory(`${dir.path}/store`, args));
  },
});

Deno.test({
  name: "an archive tree lives through upload, eviction, restore, check-in and a crash: S3",
  ignore: noS3 !== null,
  fn: async () => {
    using dir = new TempDir();
    const server = await startVersitygw(versitygwBinary()!);
    try {
      const config = server.config();
      const args = [
        ["type", "s3"],
        ["endpoint", server.endpoint],
        ["bucket", config.bucket],
        ["access-key", config.accessKey!],
        ["secret-key", config.secretKey!],
        ["prefix", "pfx"],
      ].flatMap(([name, value]) => [`--primary-${name}`, value!]);
      const store = `${server.dir}/${config.bucket}/pfx`;
      Deno.mkdirSync(store, { recursive: true });
      await cycle(dir.path, directory(store, args));
    } finally {
      await server.end();
    }
  },
});

Deno.test({
  name: "an archive tree lives through upload, eviction, restore, check-in and a crash: Azure",
  ignore: noAzure !== null,
  fn: async () => {
    using dir = new TempDir();
    const emulator = await startAzurite();
    const backend = await openBackend(emulator.config({ prefix: "pfx" }));
    try {
      const keyFile = `${dir.path}/key`;
      Deno.writeTextFileSync(keyFile, ACCOUNT_KEY, { mode: 0o600 });
      const args = [
        ["type", "azure"],
        ["endpoint", emulator.endpoint],
        ["container", CONTAINER],
        ["account-name", ACCOUNT],
        ["account-key-file", keyFile],
        ["prefix", "pfx"],
      ].flatMap(([name, value]) => [`--primary-${name}`, value!]);
      await cycle(dir.path, container(backend, args));
    } finally {
      await backend.close();
      await emulator.end();
    }
  },
});
