/**
 * What the codecs and the pure core cost: `deno task bench:micro`.
 *
 * @module
 */

import { KvBatch } from "../../../ffi/kv_batch.ts";
import { createExclusion } from "../../../src/cache/exclusion.ts";
import { type DepotPath, pathFromBytes, pathToBytes } from "../../../src/depot_path.ts";
import { previousAfter, rankOf } from "../../../src/manifest/rank.ts";
import {
  CLEAN,
  decodeRow,
  decodeVersion,
  encodeRow,
  encodeVersion,
  splitTimeKey,
  timeKey,
} from "../../../src/manifest/schema.ts";
import { isVersion, seen, uploaded } from "../../../src/manifest/transitions.ts";
import { contentDigest, sliceDigest } from "../../../src/storage/content_digest.ts";

const PATH = "depot/main/src/server/protocol/messages.cc,v" as DepotPath;
const ROW = { size: 4096, lastAccess: 1_800_000_000, createdAt: 1_800_000_000, state: CLEAN };
const VERSION = {
  size: 4096,
  mtimeNs: 1_800_000_000_123_456_789n,
  mode: 0o444,
  digest: "sha256:" + "a".repeat(64),
  etag: `"${"b".repeat(32)}"`,
};
const ROW_BYTES = encodeRow(ROW, PATH), VERSION_BYTES = encodeVersion(VERSION);
const KEY = timeKey(ROW.createdAt, PATH), PATH_BYTES = pathToBytes(PATH);
const SMALL = new Uint8Array(4096), SLICE = new Uint8Array(8 * 1024 * 1024);
const isExcluded = createExclusion(["**/*.tmp"]);

Deno.bench("row, encode", { group: "manifest" }, () => void encodeRow(ROW, PATH));
Deno.bench("row, decode", { group: "manifest" }, () => void decodeRow(ROW_BYTES));
Deno.bench("version, encode", { group: "manifest" }, () => void encodeVersion(VERSION));
Deno.bench("version, decode", { group: "manifest" }, () => void decodeVersion(VERSION_BYTES));
Deno.bench("queue key, make", { group: "manifest" }, () => void timeKey(ROW.createdAt, PATH));
Deno.bench("queue key, split", { group: "manifest" }, () => void splitTimeKey(KEY));
Deno.bench("1000 rows into a batch", { group: "manifest" }, () => {
  const batch = new KvBatch();
  for (let i = 0; i < 1000; i++) {
    batch.put(0, PATH, ROW_BYTES);
    batch.put(1, KEY, SMALL.subarray(0, 0));
  }
});

Deno.bench("path, from bytes", { group: "paths" }, () => void pathFromBytes(PATH_BYTES));
Deno.bench("path, to bytes", { group: "paths" }, () => void pathToBytes(PATH));
Deno.bench("path, excluded?", { group: "paths" }, () => void isExcluded(PATH));

Deno.bench("seen, uploaded", { group: "core" }, () => {
  void uploaded(seen(null, 4096, ROW.createdAt), VERSION, ROW.lastAccess);
});
Deno.bench("is that version?", { group: "core" }, () => {
  void isVersion(VERSION, 4096, VERSION.mtimeNs, 0o100444);
});
Deno.bench("rank after an access", { group: "core" }, () => {
  void rankOf(ROW.lastAccess, previousAfter(ROW.lastAccess - 60, 0, ROW.lastAccess));
});

Deno.bench("digest of 4 KiB", { group: "digest" }, () => {
  void contentDigest([sliceDigest(SMALL)]);
});
Deno.bench("digest of a slice of 8 MiB", { group: "digest" }, () => void sliceDigest(SLICE));
