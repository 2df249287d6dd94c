/**
 * What the storage has from before the manifest knew the depot is not sent again, and nothing else.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { createHash } from "node:crypto";
import type { DepotPath } from "../../src/depot_path.ts";
import { noteUnknownPast, StoredBefore } from "../../src/cache/stored_before.ts";
import { type ObjectInfo, StorageError } from "../../src/storage/backend.ts";
import { Engine } from "./engine.ts";

const PATH = "d/a,v" as DepotPath;
const SIZE = 20_000_000; // three slices
const MTIME_SECONDS = 1_700_000_000;

const later = () => BigInt(Date.now() + 60_000) * 1_000_000n;

/** What another program stores: the bytes, and what the provider knows of them. */
const FOREIGN = { mode: null, mtimeNs: null, digest: null };

function md5(bytes: Uint8Array): string {
  return createHash("md5").update(bytes).digest("base64");
}

/** A depot with one file, which was stored by an earlier daemon whose state is gone. */
async function withoutState(
  content: string,
  change: (info: ObjectInfo, bytes: Uint8Array) => Partial<ObjectInfo>,
  test: (engine: Engine) => Promise<void>,
): Promise<void> {
  const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "engine" });
  try {
    const objects = await (async () => {
      await using engine = new Engine({ dir });
      engine.uploader.start();
      engine.write(PATH, content);
      Deno.utimeSync(`${dir}/${PATH}`, MTIME_SECONDS, MTIME_SECONDS);
      engine.intake.changed(PATH, content.length);
      await engine.settled();
      return engine.primary.objects;
    })();
    Deno.removeSync(`${dir}/.p4cache`, { recursive: true });
    await using engine = new Engine({ dir });
    for (const [path, { info, bytes }] of objects) {
      engine.primary.objects.set(path, { info: { ...info, ...change(info, bytes) }, bytes });
    }
    await noteUnknownPast(engine.manifest, later());
    engine.storedBefore = new StoredBefore(engine.manifest);
    await test(engine);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

const puts = ({ primary }: Engine) => primary.calls.filter(({ operation }) => operation === "put");

/** Finds the file as the scan at start does, and has it uploaded where it must be. */
async function find(engine: Engine): Promise<void> {
  await engine.scanner.scanAll();
  engine.uploader.start();
  await engine.settled();
}

const CASES: readonly {
  what: string;
  change: (info: ObjectInfo, bytes: Uint8Array) => Partial<ObjectInfo>;
  isSpared: boolean;
}[] = [
  { what: "the digest is the file's", change: () => ({}), isSpared: true },
  { what: "the digest is another one", change: () => ({ digest: "sha256:00" }), isSpared: false },
  { what: "the mode is another one", change: () => ({ mode: 0o600 }), isSpared: false },
  { what: "the time is another one", change: () => ({ mtimeNs: 5n }), isSpared: false },
  {
    what: "there is no digest, and the MD5 is the file's",
    change: (_, bytes) => ({ ...FOREIGN, md5: md5(bytes) }),
    isSpared: true,
  },
  {
    what: "there is no digest, and the MD5 is another one",
    change: () => ({ ...FOREIGN, md5: md5(new Uint8Array(1)) }),
    isSpared: false,
  },
  { what: "nothing proves it", change: () => FOREIGN, isSpared: false },
];

for (const { what, change, isSpared } of CASES) {
  const outcome = isSpared ? "is not sent again" : "is sent again";
  for (const size of [6, SIZE]) {
    Deno.test(`a file of ${size} bytes that may be stored already ${outcome}: ${what}`, () =>
      withoutState("x".repeat(size), change, async (engine) => {
        await find(engine);
        assertEquals(puts(engine).length, isSpared ? 0 : 1);
        const text = await engine.metricsText();
        assertEquals(/p4cache_uploads_spared_total\S* (\d+)/.exec(text)?.[1], isSpared ? "1" : "0");
        // Clean in every sense: it can go, and comes back.
        assertEquals(await engine.evictor.evictOnly([PATH]), [null]);
        assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
        assertEquals(engine.read(PATH).length, size);
      }));
  }
}

Deno.test("a file that changed since is sent without a question", () =>
  withoutState("stored", () => ({}), async (engine) => {
    // Made before anything in the depot was.
    engine.manifest.table("meta").set("known_since", new Uint8Array(8));
    await noteUnknownPast(engine.manifest, later());
    engine.storedBefore = new StoredBefore(engine.manifest);
    await find(engine);
    assertEquals(engine.primary.calls.map(({ operation }) => operation), ["put"]);
  }));

Deno.test("a storage that is new is asked once whether it has anything", () =>
  withoutState("stored", () => ({}), async (engine) => {
    engine.primary.objects.clear();
    for (let i = 0; i < 5; i++) engine.write(`more${i}`, "x");
    await find(engine);
    const operations = engine.primary.calls.map(({ operation }) => operation);
    assertEquals(operations.filter((each) => each === "head"), []);
    assertEquals(operations.filter((each) => each === "put").length, 6);
  }));

Deno.test("P1: a file that changes while its object is looked at stays dirty, and is sent", () =>
  withoutState("stored", () => ({}), async (engine) => {
    let isChanged = false;
    engine.primary.fault = (operation) => {
      if (operation !== "head" || isChanged) return;
      isChanged = true;
      engine.write(PATH, "newer!");
    };
    await find(engine);
    assertEquals([isChanged, engine.stored(PATH)], [true, "newer!"]);
  }));

Deno.test("P3: a storage that does not say keeps the file dirty", () =>
  withoutState("stored", () => ({}), async (engine) => {
    let heads = 0;
    engine.primary.fault = (operation) => {
      if (operation === "head" && ++heads === 1) {
        throw new StorageError("transient", "Cannot reach the storage");
      }
    };
    await find(engine);
    assertEquals([heads, puts(engine).length], [2, 0]);
  }));
