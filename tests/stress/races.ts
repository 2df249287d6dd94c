/**
 * Programs that append to files in the very moment of their eviction (`c/race.c`), against the real daemon.
 *
 *     deno task races --seed N --appends M [--faults]
 *
 * With faults the storage is an S3 server behind a network that gets worse and better all the time, and is
 * away at times.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { DaemonProcess, filesBelow, run, shimEnv, TempDir, until } from "../e2e/daemon_process.ts";
import { readCounts } from "./counts.ts";
import { Random } from "../sim/random.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { compile } from "./stress_depot.ts";

const FILES = 1500, THREADS = 8;

/** Share of the bytes that there are in the end that the cache keeps; of the first ones with faults. */
const KEPT_SHARE = 1 / 4;

/** A record of `c/race.c`, and the records that a file begins with, bytes. */
const RECORD_BYTES = 16, FIRST_RECORDS = 160;

/** What a run did. */
export interface RaceResult {
  /** Records that are there in the end, by programs with the preload library, and without. */
  readonly withShim: number;
  readonly withoutShim: number;
  readonly evictions: number;
  /** Attempts that failed on the way to the storage. */
  readonly failures: number;
}

/**
 * Runs two programs at once, one of them under the preload library.
 * @param appends Records, of both together.
 * @throws Error saying which file lost what, with the seed.
 */
export async function runRaces(
  seed: number,
  appends: number,
  withFaults = false,
): Promise<RaceResult> {
  using dir = new TempDir("/dev/shm");
  await using storage = withFaults ? await FaultyStorage.start() : null;
  const program = await compile("race", dir.path);
  const depot = `${dir.path}/depot`, store = `${dir.path}/store`, stats = `${dir.path}/stats.prom`;
  for (const path of [depot, store, `${depot}/own`]) Deno.mkdirSync(path);
  // Records of process 0, so that there is something to evict from the beginning.
  const first = firstRecords();
  for (let i = 0; i < FILES; i++) {
    Deno.mkdirSync(`${depot}/d${i % 8}`, { recursive: true });
    Deno.writeFileSync(`${depot}/d${i % 8}/f${i}`, first);
  }
  const records = FILES * FIRST_RECORDS + (withFaults ? 0 : appends);
  const watermarkBytes = Math.round(records * RECORD_BYTES * KEPT_SHARE);
  await using daemon = await DaemonProcess.start(depot, [
    ...(storage?.args ?? ["--primary-type", "nfs", "--primary-path", store]),
    ...["--metrics-file", stats],
    ...["--max-cache-bytes", String(2 * watermarkBytes)],
    ...["--low-watermark-bytes", String(watermarkBytes)],
  ]);
  const args = [
    depot,
    String(seed),
    String(FILES),
    String(Math.ceil(appends / 2)),
    String(THREADS),
    ...(withFaults ? ["patient"] : []),
  ];
  if (storage !== null) {
    const local = () => filesBelow(depot).size;
    await until("half of the files are evicted", () => local() < FILES / 2);
    storage.storm(new Random(seed));
  }
  const outcomes = await Promise.all(
    [shimEnv(depot), {}].map((env) => run(program, args, { env })),
  );
  for (const { code, stdout, stderr } of outcomes) {
    if (code === 0) continue;
    throw new Error(`seed ${seed}: ${stdout}${stderr} (${code})\n${daemon.log().slice(-2000)}`);
  }
  await storage?.calm();
  await daemon.stop();
  const [withShim, withoutShim] = outcomes.map(({ stdout }) => Number(stdout));
  const { evictions, failures } = readCounts(stats);
  return { withShim: withShim!, withoutShim: withoutShim!, evictions, failures };
}

function firstRecords(): Uint8Array {
  const words = new Uint32Array(FIRST_RECORDS * RECORD_BYTES / 4);
  for (let i = 0; i < FIRST_RECORDS; i++) {
    words[i * 4 + 2] = i;
    words[i * 4 + 3] = Math.imul(i, 0x85ebca6b);
  }
  return new Uint8Array(words.buffer);
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      appends: { type: "string", default: "1000000" },
      faults: { type: "boolean", default: false },
    },
  });
  const { seed, appends, faults } = values;
  console.log(`races: seed ${seed}, ${appends} appends`);
  console.log(await runRaces(Number(seed), Number(appends), faults));
}
