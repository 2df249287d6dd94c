/**
 * Kills the daemon again and again while programs work on the depot, and looks each time whether anything
 * is lost.
 *
 *     deno task kills --seed N --cycles M
 *
 * Half of the kills come after a random time; the others at a system call: `strace` ends the daemon as a
 * thread enters its N-th call of a kind, so before the step that the call is for, at start-up too.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { DaemonProcess, hasProgram, TempDir } from "../e2e/daemon_process.ts";
import { Random } from "../sim/random.ts";
import { problemAfterCrash } from "./checker.ts";
import { StressDepot } from "./stress_depot.ts";

/** Steps of the engine, by the calls that they are made of. */
export const CRASH_POINTS: Readonly<Record<string, string>> = {
  "a file moves to the trash, or back": "renameat2",
  "a file is placed, an object published": "linkat",
  "an object takes the place of another": "renameat",
  "what was let go is unlinked": "unlinkat",
  "the manifest is written": "pwrite64",
  "the manifest is synced": "fdatasync",
  "an object is synced": "fsync",
};

/** The daemon ends at a thread's call of up to this number. */
const LAST_CALL = 4;

/** Longest time until a kill at a random time, and until one when a point is not reached, ms. */
const LONGEST_MS = 400, UNREACHED_MS = 1000;

/** Operations of each worker in a cycle. */
const OPERATIONS = 30;

const WORKERS = 3;

/** How often the daemon ended at which point. */
export type KillCounts = Map<string, number>;

/**
 * Runs so many cycles.
 * @throws Error saying what is lost or wrong, with seed and cycle.
 */
export async function runKills(seed: number, cycles: number): Promise<KillCounts> {
  // What a process wrote outlives it in memory too, and there it need not wait for a disk.
  using dir = new TempDir("/dev/shm");
  const random = new Random(seed);
  const world = await StressDepot.make(dir.path);
  const counts: KillCounts = new Map();
  const workers = world.workers(seed, WORKERS, true);
  let daemon: DaemonProcess | null = null;
  try {
    for (let cycle = 1; cycle <= cycles; cycle++) {
      const point = hasProgram("strace") && cycle % 2 === 0
        ? random.pick(Object.keys(CRASH_POINTS))
        : null;
      const where = `seed ${seed}, cycle ${cycle} (${point ?? "at a random time"})`;
      try {
        const killed = killOnce(world, point, random);
        // While the daemon is down, what they need waits for the next one.
        const working = Promise.all(workers.map((worker) => worker.work(OPERATIONS)));
        working.catch(() => {});
        const reached = await killed;
        counts.set(reached, (counts.get(reached) ?? 0) + 1);
        const problem = await problemAfterCrash(world.depot, world.store);
        if (problem !== null) throw new Error(problem);
        daemon = await DaemonProcess.start(world.depot, world.args);
        await working;
        await world.verify();
        await daemon.kill();
      } catch (error) {
        const log = await Deno.readTextFile(`${world.depot}.log`).catch(() => "");
        throw new Error(`${where}: ${(error as Error).message}\n${log.slice(-3000)}`);
      }
    }
    daemon = null;
    return counts;
  } finally {
    for (const worker of workers) await worker[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
  }
}

/** Starts a daemon, has it killed, and says at which point it ended. */
async function killOnce(
  world: StressDepot,
  point: string | null,
  random: Random,
): Promise<string> {
  const afterMs = point === null ? random.below(LONGEST_MS) : UNREACHED_MS;
  const call = point === null ? "" : CRASH_POINTS[point]!;
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
    },
  });
  console.log(`kills: seed ${values.seed}, ${values.cycles} cycles`);
  const counts = await runKills(Number(values.seed), Number(values.cycles));
  for (const [point, count] of counts) console.log(`${String(count).padStart(6)}  ${point}`);
}
