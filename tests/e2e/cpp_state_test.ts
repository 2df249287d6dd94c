/**
 * Coming from the C++ program, and going back: a configuration, a depot and a state directory as it
 * leaves them, written here byte by byte as the contract says, without our code.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { S3Requests } from "../../src/storage/s3/s3_requests.ts";
import { never } from "../storage/contents.ts";
import { requestsTo, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
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
import { type Databases, type Entries, readEnvironment, writeEnvironment } from "./lmdb_text.ts";
import { RecordingProxy } from "./recording_proxy.ts";

const binary = versitygwBinary();
const missing = binary === null || !mayWatch() || !hasProgram("mdb_load");

/** States of a row, as the contract has them. */
const DIRTY = 0, UPLOADING = 1, CLEAN = 2;

/** When everything happened, s since the epoch. */
const CREATED = 1_750_000_000, ACCESSED = 1_760_000_000;

/** A row of `files`, decoded. */
interface Row {
  readonly size: number;
  readonly accessed: number;
  readonly created: number;
  readonly state: number;
  readonly storageKey: string;
}

const hexOf = (bytes: Uint8Array) =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
const textHex = (text: string) => hexOf(new TextEncoder().encode(text));
const bytesOf = (hex: string) =>
  Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
const textOf = (hex: string) => new TextDecoder().decode(bytesOf(hex));

function number(value: number, littleEndian: boolean): string {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value), littleEndian);
  return hexOf(bytes);
}

function numberAt(hex: string, at: number, littleEndian: boolean): number {
  return Number(new DataView(bytesOf(hex).buffer).getBigUint64(at, littleEndian));
}

function rowOf(hex: string): Row {
  return {
    size: numberAt(hex, 0, true),
    accessed: numberAt(hex, 8, true),
    created: numberAt(hex, 16, true),
    state: bytesOf(hex)[24]!,
    storageKey: textOf(hex.slice(50)),
  };
}

/** The three databases for rows of these sizes and states. */
function manifestOf(rows: Record<string, { size: number; state: number }>): Databases {
  const files: Entries = new Map(), dirty: Entries = new Map(), order: Entries = new Map();
  for (const [path, { size, state }] of Object.entries(rows)) {
    const numbers = [size, ACCESSED, CREATED].map((each) => number(each, true)).join("");
    files.set(textHex(path), `${numbers}0${state}${textHex(`depot/${path}`)}`);
    if (state === DIRTY) dirty.set(number(CREATED, false) + textHex(path), "");
    if (state === CLEAN) order.set(number(ACCESSED, false) + textHex(path), "");
  }
  return new Map([["files", files], ["dirty_queue", dirty], ["evict_order", order]]);
}

/** What the state says, by the contract's layout; checked for what must agree in it. */
async function readState(depot: string): Promise<Map<string, Row>> {
  const state = await readEnvironment(`${depot}/.p4cache/manifest`, true);
  const rows = new Map(
    Array.from(state.get("files")!, ([key, value]) => [textOf(key), rowOf(value)]),
  );
  const queued = (database: string) => [...state.get(database)!.keys()].sort();
  const expected = (isClean: boolean) =>
    Array.from(rows)
      .filter(([, row]) => (row.state === CLEAN) === isClean)
      .map(([path, row]) => number(isClean ? row.accessed : row.created, false) + textHex(path))
      .sort();
  assertEquals(queued("dirty_queue"), expected(false));
  assertEquals(queued("evict_order"), expected(true));
  for (const [path, row] of rows) assertEquals(row.storageKey, `depot/${path}`);
  return rows;
}

/** Stores an object as the C++ program does: plain, without metadata. */
async function store(requests: S3Requests, path: string, text: string): Promise<void> {
  const body = Uint8Array.from(new TextEncoder().encode(text));
  const payloadDigest = hexOf(new Uint8Array(await crypto.subtle.digest("SHA-256", body)));
  const request = { key: `depot/${path}`, body, payloadDigest, doing: "store", signal: never };
  await (await requests.send({ ...request, method: "PUT" })).cancel();
}

function write(depot: string, path: string, text: string): void {
  Deno.mkdirSync(`${depot}/${path}`.replace(/\/[^/]*$/, ""), { recursive: true });
  Deno.writeTextFileSync(`${depot}/${path}`, text);
}

// deno-lint-ignore no-explicit-any
async function statusOf(depot: string): Promise<any> {
  return JSON.parse((await run(BINARY, ["status", "--json", "--depot-path", depot])).stdout);
}

const uploaded = (depot: string) =>
  until("all is uploaded", async () => {
    const { files } = await statusOf(depot);
    return files.dirty === 0 && files.uploading === 0;
  });

/** Files of the first state: what the C++ program had of each. */
const FILES: Record<string, { local: string; stored: string | null; state: number }> = {
  "main/same,v": { local: "stored as it is", stored: "stored as it is", state: CLEAN },
  "main/large.bin": {
    local: "large".repeat(300_000),
    stored: "large".repeat(300_000),
    state: CLEAN,
  },
  "main/other,v": { local: "what counts", stored: "what it had", state: CLEAN },
  "main/dirty,v": { local: "never stored", stored: null, state: DIRTY },
  "main/cut off,v": { local: "half way there", stored: null, state: UPLOADING },
  "main/arrived,v": { local: "stored, not noted", stored: "stored, not noted", state: UPLOADING },
};

Deno.test({
  name: "a depot of the C++ program is served as it is, and so is ours by what it expects",
  ignore: missing,
  fn: async () => {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`, config = `${dir.path}/config.json`;
    const server = await startVersitygw(binary!);
    const proxy = new RecordingProxy(server.endpoint);
    const { bucket, accessKey, secretKey } = server.config();
    const { requests, close } = requestsTo(server.config());
    const stored = () => filesBelow(`${server.dir}/${bucket}/depot`);
    const storedText = (path: string) => new TextDecoder().decode(stored().get(path));
    const puts = () =>
      proxy.writes().map(({ path }) => decodeURIComponent(path.replace(/\?.*/, "")))
        .map((path) => path.slice(path.indexOf("/depot/") + 7)).sort();
    try {
      for (const [path, { local, stored }] of Object.entries(FILES)) {
        write(depot, path, local);
        if (stored !== null) await store(requests, path, stored);
      }
      await store(requests, "main/evicted,v", "only in the bucket");
      const rows = Object.fromEntries(
        Object.entries(FILES).map(([path, { local, state }]) => [path, {
          size: local.length,
          state,
        }]),
      );
      const manifest = `${depot}/.p4cache/manifest`, access = `${depot}/.p4cache/access`;
      await writeEnvironment(manifest, manifestOf(rows));
      const opened: Entries = new Map([[textHex("main/same,v"), number(ACCESSED, true)]]);
      await writeEnvironment(access, new Map([["", opened]]));
      Deno.writeTextFileSync(
        config,
        JSON.stringify({
          depot_path: depot,
          primary: {
            type: "s3",
            endpoint: proxy.endpoint,
            bucket,
            region: "us-east-1",
            access_key: accessKey,
            secret_key: secretKey,
            verify_ssl: "true",
          },
          max_cache_gb: 10,
          low_watermark_gb: 8,
          upload_threads: 8,
          upload_concurrency: 16,
          restore_threads: 16,
        }),
      );

      {
        await using daemon = await DaemonProcess.start(depot, ["--config", config]);
        assertStringIncludes(daemon.log(), "Another program wrote to the manifest");
        await uploaded(depot);
        // What was stored already, and only not noted, is not sent again.
        assertEquals(puts(), ["main/cut off,v", "main/dirty,v"]);
        assertEquals(await daemon.fetch("main/evicted,v"), "OK 18");
        const { stdout } = await run(BINARY, ["access", "get", "main/same,v", "--db", access]);
        assertStringIncludes(stdout, new Date(ACCESSED * 1000).toISOString().slice(0, 19));
        // Nothing of theirs goes before it was compared; what is another one is sent.
        const evict = ["evict", "main", "--depot-path", depot];
        await until("everything is evicted", async () => {
          await run(BINARY, evict);
          return filesBelow(depot).size === 0;
        });
        assertEquals(puts(), ["main/cut off,v", "main/dirty,v", "main/other,v"]);
        for (const [path, { local }] of Object.entries(FILES)) {
          assertEquals(await daemon.fetch(path), `OK ${local.length}`);
          assertEquals(Deno.readTextFileSync(`${depot}/${path}`), local);
        }
        Deno.removeSync(`${depot}/main/dirty,v`);
        write(depot, "main/ours,v", "written under ours");
        await until("it is stored", () => stored().has("main/ours,v"));
        await uploaded(depot);
        assertEquals(await daemon.stop(), 0);
      }

      // The other way round: what the C++ program finds, by its own layout.
      const left = await readState(depot);
      assertEquals([...left.keys()].sort(), [...filesBelow(depot).keys()].sort());
      for (const [path, { size, state }] of left) {
        assertEquals([state, size], [CLEAN, Deno.statSync(`${depot}/${path}`).size], path);
      }
      const seen = await readEnvironment(access, false);
      assert(seen.get("")!.has(textHex("main/same,v")));
      assert([...seen.get("")!.values()].every((value) => value.length === 16));

      // It works on: a new file, one replaced, one evicted, one that ours saw deleted written and evicted.
      const again = await readEnvironment(manifest, true);
      const files = again.get("files")!;
      write(depot, "main/theirs,v", "theirs, dirty");
      write(depot, "main/ours,v", "replaced and stored by them");
      await store(requests, "main/ours,v", "replaced and stored by them");
      await store(requests, "main/dirty,v", "there again");
      const gone = rowOf(files.get(textHex("main/same,v"))!);
      files.delete(textHex("main/same,v"));
      again.get("evict_order")!.delete(number(gone.accessed, false) + textHex("main/same,v"));
      Deno.removeSync(`${depot}/main/same,v`);
      const ours = rowOf(files.get(textHex("main/ours,v"))!);
      again.get("evict_order")!.delete(number(ours.accessed, false) + textHex("main/ours,v"));
      const changed = manifestOf({
        "main/theirs,v": { size: 13, state: DIRTY },
        "main/ours,v": { size: 27, state: CLEAN },
      });
      for (const [name, entries] of changed) {
        for (const [key, value] of entries) again.get(name)!.set(key, value);
      }
      await writeEnvironment(manifest, again);

      const before = puts().length;
      await using daemon = await DaemonProcess.start(depot, ["--config", config]);
      await until("theirs is stored", () => stored().has("main/theirs,v"));
      await uploaded(depot);
      assertEquals(puts().length - before, 1, "only what they had not stored is sent");
      assertEquals(storedText("main/ours,v"), "replaced and stored by them");
      assertEquals(await daemon.fetch("main/same,v"), "OK 15");
      assertEquals(await daemon.fetch("main/dirty,v"), "OK 11", "the deletion was before theirs");
      assertEquals(await daemon.stop(), 0);
      await readState(depot);
    } finally {
      close();
      proxy.end();
      await server.end();
    }
  },
});
