/** P2: what a power cut at any step of a restore leaves, and what the next start makes of it. @module */

import { assertEquals } from "deno-std/assert/mod.js";
import { delay } from "deno-std/async/delay.js";
import { PlatterSync } from "../../src/cache/platter_sync.ts";
import { recover } from "../../src/cache/recovery.ts";
import { decodeMarks, encodeMark, MARKS_DIR, RestoreMarks } from "../../src/cache/restore_marks.ts";
import type { DepotPath } from "../../src/depot_path.ts";
import { getLog } from "../../src/observe/logging.ts";
import { contentOf } from "../storage/contents.ts";
import { Engine } from "./engine.ts";

const PATH = "d/a,v" as DepotPath, CONTENT = "stored";
const STORED_SECONDS = 1_700_000_000, SECOND_NS = 1_000_000_000n;
const log = getLog("daemon");

/** A temporary directory for copies of the depot, in memory, where commits are cheap; gone at the end of the scope. */
class Depots {
  readonly #dir = Deno.makeTempDirSync({ dir: "/dev/shm", prefix: "marks" });
  #count = 0;

  new(): string {
    const dir = `${this.#dir}/${this.#count++}`;
    Deno.mkdirSync(dir);
    return dir;
  }

  /** A copy as it is at the moment. */
  copy(from: string): string {
    const to = this.new();
    copyInto(from, to);
    return to;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.#dir, { recursive: true });
  }
}

function copyInto(from: string, to: string): void {
  const { success } = new Deno.Command("cp", { args: ["-a", `${from}/.`, to] }).outputSync();
  if (!success) throw new Error(`Cannot copy ${from}`);
}

const marksIn = (dir: string) =>
  decodeMarks(Array.from(Deno.readDirSync(`${dir}/${MARKS_DIR}`), ({ name }) => name));

const markedPaths = (dir: string) => marksIn(dir).map(({ path }) => path);

function contentIn(dir: string, path = PATH): string | null {
  try {
    return Deno.readTextFileSync(`${dir}/${path}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/** Puts content at the path, with the stored version's time or another one. */
function leave(dir: string, content: string, mtimeSeconds = STORED_SECONDS): void {
  Deno.mkdirSync(`${dir}/d`, { recursive: true });
  Deno.writeTextFileSync(`${dir}/${PATH}`, content);
  Deno.utimeSync(`${dir}/${PATH}`, mtimeSeconds, mtimeSeconds);
}

/** An engine of the first boot, with the file in the storage only. */
async function begin(dir: string): Promise<Engine> {
  const engine = new Engine({ dir });
  await engine.powerCut.settle({ id: "one", atNs: 0n });
  await engine.manifest.setRunning(true);
  await store(engine);
  return engine;
}

async function store({ primary }: Engine): Promise<void> {
  const bytes = new TextEncoder().encode(CONTENT) as Uint8Array<ArrayBuffer>;
  const mtimeNs = BigInt(STORED_SECONDS) * SECOND_NS;
  await primary.put(PATH, contentOf(bytes, { mtimeNs }), new AbortController().signal);
}

/** What the start after the next boot leaves at the path; then the file is restored, whatever that was. */
async function afterBoot(dir: string): Promise<string | null> {
  await using engine = new Engine({ dir });
  await store(engine);
  const boot = { id: "two", atNs: (BigInt(Date.now()) + 60_000n) * 1_000_000n };
  const markNames = Array.from(Deno.readDirSync(`${dir}/${MARKS_DIR}`), ({ name }) => name);
  await recover(engine.files, engine.manifest, { trashNames: [], markNames, boot }, log);
  assertEquals(markedPaths(dir), []);
  const left = contentIn(dir);
  assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
  return left;
}

Deno.test("P2: wherever the power cuts a restore, and whatever the disk kept, no torn file is at a path", async () => {
  using depots = new Depots();
  const dir = depots.new();
  // What is on the platter if everything up to the step is: names, and the manifest.
  const steps: string[] = [];
  {
    await using engine = await begin(dir);
    const step = () => steps.push(depots.copy(dir));
    step(); // 0: nothing yet
    const place = engine.files.placeSmall.bind(engine.files);
    engine.files.placeSmall = (...args) => {
      step(); // 1: the mark
      const placed = place(...args);
      step(); // 2: the file
      return placed;
    };
    assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
    assertEquals(markedPaths(dir), [PATH]);
    await engine.manifest.commit();
    await engine.marks.stop();
    step(); // 3: the record, and the mark is gone
    const { files, manifest } = engine;
    assertEquals(await new PlatterSync({ files, manifest, log }).sync(), true);
    await manifest.commit();
    step(); // 4: synced
  }
  assertEquals(steps.map((step) => markedPaths(step).length), [0, 1, 1, 0, 0]);
  assertEquals(steps.map((step) => contentIn(step)), [null, null, CONTENT, CONTENT, CONTENT]);

  const kept = [CONTENT, "", CONTENT.slice(0, 3), "\0".repeat(CONTENT.length)];
  for (const [cut, manifest] of steps.entries()) {
    // The names may lag behind; the manifest's commits are synced, and so is all of step 4.
    for (const names of cut === 4 ? [4] : steps.slice(0, cut + 1).keys()) {
      const hasFile = contentIn(steps[names]!) !== null;
      for (const content of hasFile && names < 4 ? kept : [null]) {
        const after = depots.copy(steps[names]!);
        copyInto(`${manifest}/.p4cache/manifest`, `${after}/.p4cache/manifest`);
        if (content !== null) leave(after, content);
        const left = await afterBoot(after);
        const what = `cut after step ${cut}, names of step ${names}, the disk kept ${content}`;
        const expected = hasFile && (content === null || content === CONTENT) ? CONTENT : null;
        assertEquals(left, expected, what);
        assertEquals(contentIn(after), CONTENT, what);
      }
    }
  }
});

Deno.test("P1: what somebody else wrote at a marked path is not touched", async () => {
  using depots = new Depots();
  const dir = depots.new(), marked = depots.new();
  {
    await using engine = await begin(dir);
    engine.files.placeSmall = () => {
      copyInto(dir, marked);
      return null;
    };
    await engine.restorer.fetch(PATH).catch(() => {});
  }
  assertEquals(markedPaths(marked), [PATH]);
  leave(marked, "newer", STORED_SECONDS + 1);
  assertEquals(await afterBoot(marked), "newer");
});

Deno.test("P2: the recorded version stays where a newer one was about to take its place", async () => {
  using depots = new Depots();
  const dir = depots.new(), marked = depots.new();
  {
    await using engine = await begin(dir);
    await engine.restorer.fetch(PATH);
    await engine.manifest.commit();
    await engine.marks.stop();
    const mtimeNs = BigInt(STORED_SECONDS + 1) * SECOND_NS;
    engine.marks.add(PATH, { mtimeNs, digest: "sha256:newer" });
    copyInto(dir, marked);
  }
  assertEquals(await afterBoot(marked), CONTENT);
});

const UNRECORDED = {
  "its path is excluded by now": (engine: Engine) => void (engine.exclude = ["d/**"]),
  "nobody saw the removal of an earlier one": (engine: Engine) =>
    engine.intake.changed(PATH, CONTENT.length),
};
for (const [why, prepare] of Object.entries(UNRECORDED)) {
  Deno.test(`P2: a restored file that is not recorded as clean has a note as well: ${why}`, async () => {
    using depots = new Depots();
    const dir = depots.new();
    {
      await using engine = await begin(dir);
      prepare(engine);
      assertEquals((await engine.restorer.fetch(PATH)).kind, "ok");
      await engine.manifest.commit();
      await engine.marks.stop();
      assertEquals(markedPaths(dir), []);
      assertEquals(engine.manifest.get(PATH)?.version ?? null, null);
    }
    leave(dir, "");
    assertEquals(await afterBoot(dir), null);
  });
}

Deno.test("a crash of the daemon alone removes marks, and nothing else", async () => {
  using depots = new Depots();
  const dir = depots.new();
  {
    await using engine = await begin(dir);
    engine.marks.add(PATH, { mtimeNs: BigInt(STORED_SECONDS) * SECOND_NS, digest: "sha256:other" });
    leave(dir, "p4d's");
  }
  await using engine = new Engine({ dir });
  const found = {
    trashNames: [],
    markNames: Array.from(Deno.readDirSync(`${dir}/${MARKS_DIR}`), ({ name }) => name),
    boot: { id: "one", atNs: (BigInt(Date.now()) + 60_000n) * 1_000_000n },
  };
  await recover(engine.files, engine.manifest, found, log);
  assertEquals([markedPaths(dir), contentIn(dir)], [[], "p4d's"]);
});

Deno.test("a mark stays until its record is durable", async () => {
  await using engine = new Engine();
  const { promise, resolve } = Promise.withResolvers<void>();
  const marks = new RestoreMarks({
    files: engine.files,
    manifest: { durable: () => promise },
    log,
  });
  marks.release(marks.add(PATH, { mtimeNs: 1n, digest: "" }));
  const removed = marks.stop();
  await Promise.race([removed, delay(100)]);
  assertEquals(markedPaths(engine.dir), [PATH]);
  resolve();
  await removed;
  assertEquals(markedPaths(engine.dir), []);
});

Deno.test("a mark says the same whatever is in the path, and nothing when a part of it is missing", () => {
  const every = String.fromCharCode(...Array.from({ length: 255 }, (_, i) => i + 1))
    .replace("\n", "");
  const paths = ["a", every, `d/${"x".repeat(254)}/${"y".repeat(1700)}`, "?>?>/~~~"];
  const version = { mtimeNs: -5n, digest: "sha256:" + "0".repeat(64) };
  const marks = paths.map((path, i) => encodeMark(i, path, version));
  const names = marks.flat().reverse();
  for (const name of names) assertEquals([name.length < 256, name.includes("/")], [true, false]);
  assertEquals(
    decodeMarks([...names, "base"]).toReversed(),
    paths.map((path) => ({ path, version })),
  );
  const long = marks[2]!;
  assertEquals(decodeMarks(long.slice(1)), []);
  assertEquals(decodeMarks(long.slice(0, -1)), []);
});
