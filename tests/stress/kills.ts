/**
 * Kills the daemon again and again while programs work on the depot, and looks each time whether anything
 * is lost.
 *
 *     deno task kills --seed N --cycles M [--faults]
 *
 * Half of the kills come after a random time; the others at a system call: `strace` ends the daemon as a
 * thread enters its N-th call of a kind, so before the step that the call is for, at start-up too.
 *
 * With faults the storage is an S3 server behind a network that gets worse and better all the time, and is
 * away at times.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { DaemonProcess, hasProgram, TempDir } from "../e2e/daemon_process.ts";
import { Random } from "../sim/random.ts";
import { problemAfterCrash } from "./checker.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { StressDepot } from "./stress_depot.ts";

/** Steps of the engine, by the calls that they are made of. */
const CRASH_POINTS: Readonly<Record<string, string>> = {
  "a file moves to the trash, or back": "renameat2",
  "a file is placed, an object published": "linkat",
  "an object takes the place of another": "renameat",
  "what was let go is unlinked": "unlinkat",
  "the manifest is written": "pwrite64",
  "the manifest is synced": "fdatasync",
  "an object is synced": "fsync",
};

/** The same where the storage is behind a network. */
const CRASH_POINTS_WITH_NETWORK: typeof CRASH_POINTS = {
  "a file moves to the trash, or back": "renameat2",
  "a file is placed": "linkat",
  "what was let go is unlinked": "unlinkat",
  "the manifest is written": "pwrite64",
  "the manifest is synced": "fdatasync",
  "a connection is made": "connect",
  "a request, or an answer, is sent": "writev,sendto",
};

/** The daemon ends at a thread's call of up to this number. */
const LAST_CALL = 4;

/** Longest time until a kill at a random time, and until one when a point is not reached, ms. */
const LONGEST_MS = 400, UNREACHED_MS = 600;

/** Operations of each worker before the first kill, and in a cycle. */
const FIRST_OPERATIONS = 100, OPERATIONS = 30;

/**
 * Cycles on one depot. A file whose upload was cut off is not evicted for a while, so after some kills
 * nothing would be.
 */
const DEPOT_CYCLES = 10;

const WORKERS = 3;

/** What a run did. */
export interface KillCounts {
  /** How often the daemon ended at which point. */
  readonly points: Map<string, number>;
  /** Files that were only in the storage when the daemon ended, all cycles together. */
  evicted: number;
}

/**
 * Runs so many cycles.
 * @throws Error saying what is lost or wrong, with seed and cycle.
 */
export async function runKills(
  seed: number,
  cycles: number,
  withFaults = false,
): Promise<KillCounts> {
  const random = new Random(seed);
  const counts: KillCounts = { points: new Map(), evicted: 0 };
  for (let cycle = 0; cycle < cycles; cycle += DEPOT_CYCLES) {
    const count = Math.min(DEPOT_CYCLES, cycles - cycle);
    try {
      await killOnDepot(random, count, withFaults, counts);
    } catch (error) {
      throw new Error(`seed ${seed}, after ${cycle} cycles: ${(error as Error).message}`);
    }
  }
  return counts;
}

async function killOnDepot(
  random: Random,
  cycles: number,
  withFaults: boolean,
  counts: KillCounts,
): Promise<void> {
  // What a process wrote outlives it in memory too, and there it need not wait for a disk.
  using dir = new TempDir("/dev/shm");
  await using storage = withFaults ? await FaultyStorage.start() : null;
  const world = await StressDepot.make(dir.path, storage, withFaults);
  const crashPoints = withFaults ? CRASH_POINTS_WITH_NETWORK : CRASH_POINTS;
  const workers = world.workers(random.below(1_000_000), WORKERS, true);
  const work = (operations: number) =>
    Promise.all(workers.map((worker) => worker.work(operations)));
  try {
    await using first = await DaemonProcess.start(world.depot, world.args);
    await work(FIRST_OPERATIONS);
    await first.stop();
    storage?.storm(new Random(random.below(1_000_000)));
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const point = hasProgram("strace") && cycle % 2 === 0
        ? random.pick(Object.keys(crashPoints))
        : null;
      try {
        const killed = killOnce(world, point, point === null ? "" : crashPoints[point]!, random);
        // While the daemon is down, what they need waits for the next one.
        const working = work(OPERATIONS);
        working.catch(() => {});
        const reached = await killed;
        counts.points.set(reached, (counts.points.get(reached) ?? 0) + 1);
        counts.evicted += world.evicted();
        const problem = await problemAfterCrash(world.depot, world.store);
        if (problem !== null) throw new Error(problem);
        await using next = await DaemonProcess.start(world.depot, world.args);
        await working;
        await world.verify();
        await next.kill();
      } catch (error) {
        const log = await Deno.readTextFile(`${world.depot}.log`).catch(() => "");
        const where = `cycle ${cycle} (${point ?? "at a random time"})`;
        throw new Error(`${where}: ${(error as Error).message}\n${log.slice(-3000)}`);
      }
    }
  } finally {
    for (const worker of workers) await worker[Symbol.asyncDispose]();
  }
}

/** Starts a daemon, has it killed, and says at which point it ended. @param call The point's. */
async function killOnce(
  world: StressDepot,
  point: string | null,
  call: string,
  random: Random,
): Promise<string> {
  const afterMs = point === null ? random.below(LONGEST_MS) : UNREACHED_MS;
  const through = point === null ? [] : [
    ...["strace", "-f", "-qqq", "-o", "/dev/null", "-e", `trace=${call}`],
    ...["-e", `inject=${call}:signal=KILL:when=${1 + random.below(LAST_CALL)}`],
  ];
  let daemon: DaemonProcess;
  try {
    daemon = await DaemonProcess.start(world.depot, world.args, through);
  } catch (error) {
    if (point === null || !String(error).includes("The daemon ended")) throw error;
    return point;
  }
  let timer = 0;
  const late = new Promise<true>((resolve) => timer = setTimeout(resolve, afterMs, true));
  const isLate = await Promise.race([late, daemon.ended.then(() => false)]);
  clearTimeout(timer);
  if (isLate) killHolder(world.depot);
  await daemon.ended;
  return isLate || point === null ? "at a random time" : point;
}

/** Kills the daemon itself; what it runs under ends with it. */
function killHolder(depot: string): void {
  try {
    Deno.kill(Number(Deno.readTextFileSync(`${depot}/.p4cache/daemon.lock`)), "SIGKILL");
  } catch (error) {
    // The call came just now.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      seed: { type: "string", default: String(Date.now() % 1_000_000) },
      cycles: { type: "string", default: "1000" },
      faults: { type: "boolean", default: false },
    },
  });
  console.log(`kills: seed ${values.seed}, ${values.cycles} cycles`);
  const { seed, cycles, faults } = values;
  const { points, evicted } = await runKills(Number(seed), Number(cycles), faults);
  for (const [point, count] of points) console.log(`${String(count).padStart(6)}  ${point}`);
  console.log(`${String(evicted).padStart(6)}  files were only in the storage`);
}
