/**
 * Compares what a stopped daemon left in the manifest with itself and with the storage directory.
 *
 * @module
 */

import { Kv } from "../../ffi/kv.ts";
import { CLEAN, decodeRow, decodeVersion } from "../../src/manifest/schema.ts";
import { contentDigest, sliceCount, sliceDigest } from "../../src/storage/content_digest.ts";
import { SLICE_BYTES } from "../../src/storage/backend.ts";
import { manifestProblem } from "../sim/manifest_invariants.ts";

/** The databases that the invariants speak of. */
const DATABASES = [
  "files",
  "dirty_queue",
  "evict_order",
  "versions",
  "tombstones",
  "trash",
  "meta",
];

/** Reads a whole environment that no daemon has open. */
async function readEnvironment(dir: string) {
  const kv = new Kv(dir, 0, { readOnly: true });
  try {
    const databases: Map<string, Uint8Array>[] = [];
    for (const name of DATABASES) {
      const entries = new Map<string, Uint8Array>();
      const db = kv.database(name);
      for (let after: Uint8Array = new Uint8Array(0);;) {
        const page = await kv.scan(db, after, false);
        if (page.length === 0) break;
        for (const { key, value } of page) entries.set(String.fromCharCode(...key), value);
        after = page.at(-1)!.key;
      }
      databases.push(entries);
    }
    return { names: [...DATABASES], databases, lastTxn: 0n };
  } finally {
    kv.close();
  }
}

/**
 * Says what is wrong: with the manifest's invariants, or with an object that a clean row relies on. Null
 * when nothing is.
 */
export async function problemAfterCrash(depot: string, store: string): Promise<string | null> {
  const environment = await readEnvironment(`${depot}/.p4cache/manifest`);
  const problem = manifestProblem(environment);
  if (problem !== null) return problem;
  const [files, versions] = ["files", "versions"].map((name) =>
    environment.databases[DATABASES.indexOf(name)]!
  );
  for (const [path, value] of files!) {
    if (decodeRow(value).state !== CLEAN) continue;
    const version = decodeVersion(versions!.get(path)!);
    const object = await Deno.readFile(`${store}/${path}`).catch(() => null);
    if (object === null) return `${path} is clean, and has no object`;
    if (digestOf(object) !== version.digest) {
      return `${path} is clean, its object is another version`;
    }
  }
  return null;
}

function digestOf(bytes: Uint8Array): string {
  const slices = Array.from(
    { length: sliceCount(bytes.length) },
    (_, i) => sliceDigest(bytes.subarray(i * SLICE_BYTES, (i + 1) * SLICE_BYTES)),
  );
  return contentDigest(slices);
}
