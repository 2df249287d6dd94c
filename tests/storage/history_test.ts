/**
 * What was there at a moment, from the versions that real servers keep.
 *
 * @module
 */

import { assertEquals, assertRejects } from "deno-std/assert/mod.js";
import type { DepotPath } from "../../src/depot_path.ts";
import { runProgram } from "../../src/commands/program.ts";
import type { AzureConfig, S3Config } from "../../src/config/config.ts";
import { type Backend, SLICE_BYTES } from "../../src/storage/backend.ts";
import { openAzure } from "../../src/storage/azure/azure_open.ts";
import {
  type History,
  type ObjectVersion,
  readVersion,
  versionAt,
  versionsAt,
} from "../../src/storage/history.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { openHistory } from "../../src/storage/open_history.ts";
import { hex, sliceDigest } from "../../src/storage/content_digest.ts";
import { azureConfig } from "./azurite.ts";
import { contentOf, never, someBytes, textPath } from "./contents.ts";
import { BUCKET as GCS_BUCKET, fakeGcsBinary, gcsConfig, startFakeGcs } from "./fake_gcs.ts";
import { minioBinary, MinioServer } from "./minio.ts";
import { requestsTo } from "./versitygw.ts";

const version = (path: string, storedMs: number, isDeleted = false): ObjectVersion => ({
  path: path as DepotPath,
  version: `v${storedMs}`,
  size: 1,
  storedMs,
  isDeleted,
});

/** A history that tells these versions. */
function historyOf(...versions: readonly ObjectVersion[]): History {
  return {
    label: "memory:",
    async *versions(prefix) {
      yield* versions.filter(({ path }) => path.startsWith(prefix));
    },
    read: () => Promise.reject(new Error("not asked for")),
    close: () => Promise.resolve(),
  };
}

const history = historyOf(
  version("a", 10),
  version("b", 30),
  version("b", 20, true),
  version("b", 10),
  version("c", 20, true),
  version("c", 20),
);

async function names(history: History, atMs: number, prefix = ""): Promise<string[]> {
  const found = await Array.fromAsync(versionsAt(history, prefix, atMs, never));
  return found.map(({ path, version }) => `${path} ${version}`);
}

Deno.test("at each moment the latest version counts, unless it was deleted by then", async () => {
  assertEquals(await names(history, 9), []);
  assertEquals(await names(history, 10), ["a v10", "b v10"]);
  // Of the same time: the newer one is told first.
  assertEquals(await names(history, 20), ["a v10"]);
  assertEquals(await names(history, 40), ["a v10", "b v30"]);
  assertEquals(await names(history, 40, "b"), ["b v30"]);
});

Deno.test("why there is no such version is told", async () => {
  const at = (path: string, ms: number) => versionAt(history, path as DepotPath, ms, never);
  assertEquals((await at("b", 15)).version, "v10");
  await assertRejects(() => at("b", 25), Error, "it was deleted at 1970-01-01T00:00:00.020Z");
  await assertRejects(() => at("a", 5), Error, "the oldest version that is kept is of");
  await assertRejects(() => at("d", 5), Error, "never such an object, or the bucket's versioning");
});

Deno.test("a directory keeps no versions", async () => {
  await assertRejects(() => openHistory({ type: "nfs", path: "/x" }), Error, "snapshots");
});

/** Stores, replaces and deletes objects, and looks back to each moment. */
async function lookBack(backend: Backend, history: History): Promise<readonly number[]> {
  const path = textPath("main/file,v"), odd = "main/\xff\x01odd" as DepotPath;
  const large = textPath("main/large,v"), empty = textPath("main/empty");
  const moments: number[] = [];
  // Some times are told in whole seconds, rounded or cut.
  const moment = async () => {
    await new Promise((resolve) => setTimeout(resolve, 550));
    moments.push(Date.now());
    await new Promise((resolve) => setTimeout(resolve, 1050));
  };
  const largeBytes = someBytes(SLICE_BYTES + 5, 3);
  await moment();
  await backend.put(path, contentOf(someBytes(100, 1)), never);
  await backend.put(odd, contentOf(someBytes(10, 9)), never);
  await backend.put(large, contentOf(largeBytes), never);
  await backend.put(empty, contentOf(new Uint8Array(0)), never);
  await moment();
  await backend.put(path, contentOf(someBytes(200, 2)), never);
  await backend.delete(odd, never);
  await moment();
  await backend.delete(path, never);
  await moment();
  const listed = async (at: number) => {
    const found = await Array.fromAsync(versionsAt(history, "main/", moments[at]!, never));
    return found.map(({ path, size }) => [path, size]).sort();
  };
  const rest = [[empty, 0], [large, largeBytes.length]];
  assertEquals(await listed(0), []);
  assertEquals(await listed(1), [[empty, 0], [path, 100], [large, largeBytes.length], [odd, 10]]);
  assertEquals(await listed(2), [[empty, 0], [path, 200], [large, largeBytes.length]]);
  assertEquals(await listed(3), rest);
  const read = async (path: DepotPath, at: number) => {
    const found = await versionAt(history, path, moments[at]!, never);
    const parts: Uint8Array[] = [];
    const info = await readVersion(history, found, (bytes) => void parts.push(bytes), never);
    assertEquals(info.mode, 0o444);
    return new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  };
  assertEquals(await read(path, 1), someBytes(100, 1));
  assertEquals(await read(path, 2), someBytes(200, 2));
  assertEquals(await read(odd, 1), someBytes(10, 9));
  assertEquals(await read(empty, 3), new Uint8Array(0));
  assertEquals(hex(sliceDigest(await read(large, 3))), hex(sliceDigest(largeBytes)));
  await assertRejects(() => versionAt(history, path, moments[3]!, never), Error, "was deleted at");
  return moments;
}

/** The commands, over the same bucket: they touch nothing but the file that they are told to make. */
async function byCommand(config: S3Config, moments: readonly number[]): Promise<void> {
  const dir = Deno.realPathSync(await Deno.makeTempDir());
  try {
    const depot = `${dir}/depot`, settings = `${dir}/config.json`, to = `${dir}/then`;
    Deno.mkdirSync(depot);
    const { endpoint, bucket, accessKey, secretKey } = config;
    const primary = {
      type: "s3",
      endpoint,
      bucket,
      path_prefix: "depot",
      access_key: accessKey,
      secret_key: secretKey,
    };
    Deno.writeTextFileSync(settings, JSON.stringify({ depot_path: depot, primary }));
    const p4cache = async (...args: string[]) => {
      let out = "", err = "";
      const terminal = { out: (text: string) => out += text, err: (text: string) => err += text };
      const code = await runProgram([...args, "--config", settings], terminal as never);
      return { code, out, err };
    };
    const at = new Date(moments[1]!).toISOString();
    const listed = await p4cache("ls", "main/file,v", "--at", at, "--json");
    assertEquals([listed.code, JSON.parse(listed.out).size], [0, 100]);
    assertEquals((await p4cache("ls", "--at", at, "nothing")).out, "");
    assertEquals((await p4cache("restore", "main/file,v", "--at", at, "--to", to)).code, 0);
    assertEquals(Deno.readFileSync(to), someBytes(100, 1));
    assertEquals(Deno.statSync(to).mode! & 0o777, 0o444);
    const again = await p4cache("restore", "main/file,v", "--at", at, "--to", to);
    assertEquals([again.code, again.err.includes("it is there")], [1, true]);
    const inside = await p4cache("restore", "main/file,v", "--at", at, "--to", `${depot}/file`);
    assertEquals([inside.code, inside.err.includes("it is in the depot")], [2, true]);
    const before = new Date(moments[0]!).toISOString();
    const none = await p4cache("restore", "main/file,v", "--at", before, "--to", `${dir}/none`);
    assertEquals([none.code, none.err.includes("oldest version that is kept")], [1, true]);
    assertEquals([...Deno.readDirSync(dir)].map(({ name }) => name).sort(), [
      "config.json",
      "depot",
      "then",
    ]);
    assertEquals([...Deno.readDirSync(depot)], []);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

const minio = minioBinary();
if (minio === null) console.log("versions in S3 are skipped: no minio; set MINIO_BIN");

Deno.test({
  name: "an S3 bucket with versioning is read as it was at each moment",
  ignore: minio === null,
  fn: async () => {
    const server = await MinioServer.start(minio!);
    try {
      const config = server.config({ prefix: "depot" });
      await turnOnVersioning(config);
      const backend = await openBackend(config), history = await openHistory(config);
      try {
        await byCommand(config, await lookBack(backend, history));
      } finally {
        await backend.close();
        await history.close();
      }
    } finally {
      await server.end();
    }
  },
});

async function turnOnVersioning(config: Parameters<typeof requestsTo>[0]): Promise<void> {
  const { requests, close } = requestsTo(config);
  const body = new Uint8Array(new TextEncoder().encode(
    "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
  ));
  const answer = await requests.send({
    method: "PUT",
    key: null,
    query: { versioning: "" },
    body,
    payloadDigest: hex(sliceDigest(body)),
    doing: "turn on versioning",
    signal: never,
  });
  await answer.cancel();
  close();
}

const fakeGcs = fakeGcsBinary();
if (fakeGcs === null) console.log("versions in GCS are skipped: no fake-gcs-server");

Deno.test({
  name: "a GCS bucket with versioning is read as it was at each moment",
  ignore: fakeGcs === null,
  fn: async () => {
    const server = await startFakeGcs(fakeGcs!);
    try {
      const bucket = `${GCS_BUCKET}-versions`;
      const made = await fetch(`${server.endpoint}/storage/v1/b?project=test`, {
        method: "POST",
        body: JSON.stringify({ name: bucket, versioning: { enabled: true } }),
      });
      await made.body?.cancel();
      const config = gcsConfig(server.endpoint, { bucket });
      const backend = await openBackend(config), history = await openHistory(config);
      try {
        await lookBack(backend, history);
      } finally {
        await backend.close();
        await history.close();
      }
    } finally {
      await server.end();
    }
  },
});

Deno.test("a GCS generation that ended a moment after its successor began was replaced, not deleted", async () => {
  const at = (ms: number) => new Date(ms).toISOString();
  const item = (generation: number, storedMs: number, goneMs: number | null) => ({
    name: "depot/file,v",
    size: "3",
    generation: `${generation}`,
    timeCreated: at(storedMs),
    ...(goneMs === null ? {} : { timeDeleted: at(goneMs) }),
  });
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const isEscaped = new URL(request.url).searchParams.get("prefix")!.includes(".p4cache");
    // Replaced, deleted, and stored again.
    const items = isEscaped ? [] : [item(1, 1000, 2001), item(2, 2000, 3000), item(3, 4000, null)];
    return Response.json({ kind: "storage#objects", items });
  });
  const config = gcsConfig(`http://127.0.0.1:${server.addr.port}`, { prefix: "depot" });
  const history = await openHistory(config);
  try {
    const found = await Promise.all(
      [999, 1000, 1999, 2000, 2001, 2999, 3000, 3999, 4000].map((ms) => names(history, ms)),
    );
    const versions = ["", "1", "1", "2", "2", "2", "", "", "3"];
    assertEquals(found, versions.map((v) => v === "" ? [] : [`file,v ${v}`]));
  } finally {
    await history.close();
    await server.shutdown();
  }
});

Deno.test("Azure's versions are read as its documentation shows them", async () => {
  const asked: string[] = [];
  const blob = (name: string, time: string, isCurrent: boolean) =>
    `<Blob><Name>depot/${name}</Name><VersionId>${time}</VersionId>` +
    (isCurrent ? "<IsCurrentVersion>true</IsCurrentVersion>" : "") +
    "<Properties><Content-Length>3</Content-Length><Etag>0x1</Etag></Properties></Blob>";
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const { searchParams } = new URL(request.url);
    asked.push(searchParams.get("include") ?? searchParams.get("versionid") ?? "");
    if (searchParams.get("comp") === "list") {
      const blobs = searchParams.get("prefix")!.includes(".p4cache") ? "" : [
        blob("gone", "2026-01-01T00:00:00.0000000Z", false),
        blob("kept", "2026-01-01T00:00:00.0000000Z", false),
        blob("kept", "2026-01-03T00:00:00.1234567Z", true),
      ].join("");
      return new Response(
        `<?xml version="1.0"?><EnumerationResults><Blobs>${blobs}</Blobs><NextMarker/></EnumerationResults>`,
      );
    }
    return new Response("old", {
      status: 206,
      headers: { etag: '"0x1"', "content-range": "bytes 0-2/3", "content-length": "3" },
    });
  });
  const config: AzureConfig = azureConfig(`http://127.0.0.1:${server.addr.port}/devstoreaccount1`, {
    prefix: "depot",
  });
  const history = (await openAzure(config)).history();
  try {
    assertEquals(await names(history, Date.parse("2026-01-02")), [
      "gone 2026-01-01T00:00:00.0000000Z",
      "kept 2026-01-01T00:00:00.0000000Z",
    ]);
    assertEquals(await names(history, Date.now() + 1000), ["kept 2026-01-03T00:00:00.1234567Z"]);
    const then = Date.parse("2026-01-02");
    const found = await versionAt(history, "kept" as DepotPath, then, never);
    let text = "";
    const take = (bytes: Uint8Array) => void (text += new TextDecoder().decode(bytes));
    await readVersion(history, found, take, never);
    assertEquals([text, asked.at(-1)], ["old", "2026-01-01T00:00:00.0000000Z"]);
  } finally {
    await history.close();
    await server.shutdown();
  }
});
