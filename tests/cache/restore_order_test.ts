/**
 * Primary, then secondary: every state of the one with every state of the other.
 *
 * @module
 */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import type { FetchAnswer } from "../../src/server/shim_server.ts";
import { SLICE_BYTES, StorageError, type StorageErrorKind } from "../../src/storage/backend.ts";
import { contentOf, never, someBytes, textPath } from "../storage/contents.ts";
import type { MemoryBackend } from "../storage/memory_backend.ts";
import { Engine } from "./engine.ts";

/** Written once: every copy of it is good. */
const PATH = textPath("a,d/1.1");
const KINDS: readonly StorageErrorKind[] = [
  "absent",
  "denied",
  "throttled",
  "transient",
  "permanent",
  "corrupt",
  "conflict",
];

/** States a backend can be in; the last two hold the object, but not whole or not right. */
const STATES = ["has", ...KINDS, "garbled", "cut"] as const;
type State = typeof STATES[number];

async function bring(backend: MemoryBackend, state: State, size: number): Promise<void> {
  await backend.put(PATH, contentOf(someBytes(size)), never);
  const object = backend.objects.get(PATH)!;
  backend.calls.length = 0;
  if (state === "has") return;
  if (state === "garbled") object.bytes[size - 1]! ^= 1;
  else if (state === "cut") object.bytes = object.bytes.slice(0, size - 1);
  else {
    backend.fault = () => {
      throw new StorageError(state, `${state} at start`);
    };
  }
}

/** What the answer must be: restored, "not found" only when both say so, an error in all else. */
function expected(primary: State, secondary: State | null): FetchAnswer["kind"] {
  if (primary === "has" || secondary === "has") return "ok";
  return primary === "absent" && (secondary === null || secondary === "absent")
    ? "notFound"
    : "error";
}

const SIZES = [["small", 1000], ["of several slices", SLICE_BYTES + 5]] as const;

for (const [name, size] of SIZES) {
  Deno.test(`P3: every state of primary and secondary, for a file that is ${name}`, async () => {
    for (const primary of STATES) {
      for (const secondary of [null, ...STATES]) {
        // The large ones differ from the small only in how they arrive.
        if (size > SLICE_BYTES && primary !== "garbled" && primary !== "cut") continue;
        const what = `${primary}, ${secondary}`;
        await using engine = new Engine({ withSecondary: secondary !== null });
        await bring(engine.primary, primary, size);
        if (secondary !== null) await bring(engine.secondary, secondary, size);
        const answer = await engine.restorer.fetch(PATH);
        assertEquals(answer.kind, expected(primary, secondary), what);
        const restored = answer.kind === "ok";
        assertEquals(engine.has(PATH), restored, what);
        if (restored) assertEquals(Deno.readFileSync(`${engine.dir}/${PATH}`), someBytes(size));
        const { restoresSecondary } = engine.metrics.totals();
        assertEquals(restoresSecondary, restored && primary !== "has" ? 1 : 0, what);
        assertEquals(engine.secondary.calls.length === 0, primary === "has" || secondary === null);
        assertEquals([...Deno.readDirSync(`${engine.dir}/.p4cache/restore`)], [], what);
      }
    }
  });
}

Deno.test("a primary that fails midway leaves nothing of itself in what the secondary gives", async () => {
  const size = 3 * SLICE_BYTES;
  await using engine = new Engine({ withSecondary: true });
  await bring(engine.primary, "has", size);
  await bring(engine.secondary, "has", size);
  // As right as the secondary's in its metadata, other in its bytes.
  engine.primary.objects.get(PATH)!.bytes.fill(7);
  let gets = 0;
  engine.primary.fault = () => {
    if (++gets === 3) throw new StorageError("transient", "the connection was reset");
  };
  assertEquals(await engine.restorer.fetch(PATH), { kind: "ok", size });
  assertEquals(Deno.readFileSync(`${engine.dir}/${PATH}`), someBytes(size));
});

Deno.test("when both fail, the answer says why of both", async () => {
  await using engine = new Engine({ withSecondary: true });
  await bring(engine.primary, "denied", 10);
  await bring(engine.secondary, "transient", 10);
  const answer = await engine.restorer.fetch(PATH);
  const why = answer.kind === "error" ? answer.why : answer.kind;
  assertStringIncludes(why, "denied at start; transient at start");
});

Deno.test("the secondary is never written to", async () => {
  await using engine = new Engine({ withSecondary: true });
  engine.uploader.start();
  engine.write("new", "content");
  await engine.settled();
  await bring(engine.primary, "absent", 10);
  await engine.secondary.put(PATH, contentOf(someBytes(10)), never);
  engine.secondary.calls.length = 0;
  assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
  const operations = new Set(engine.secondary.calls.map((call) => call.operation));
  assertEquals(operations, new Set(["getRange"]));
});
