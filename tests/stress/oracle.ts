/**
 * The oracle run: random operations of many programs on a real depot that evicts all the time, and the
 * same ones on a plain directory. Each must end alike, and in the end both must hold the same.
 *
 *     deno task oracle --seed N --ops M --workers W [--faults]
 *
 * With faults the storage is an S3 server behind a network that is slow and breaks connections.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { DaemonProcess, TempDir } from "../e2e/daemon_process.ts";
import { FaultyStorage } from "./faulty_storage.ts";
import { type Counts, readCounts } from "./counts.ts";
import { StressDepot } from "./stress_depot.ts";

/**
 * Runs it to its end.
 * @throws Error saying which operation ended otherwise, with the seed.
 */
export async function runOracle(
  seed: number,
  operations: number,
  workerCount = 4,
  withFaults = false,
): Promise<Counts> {
  using dir = new TempDir();
  await using storage = withFaults ? await FaultyStorage.start() : null;
  // Retries are bounded: one request of thousands may meet a broken connection each time.
  const world = await StressDepot.make(dir.path, storage, withFaults);
  const statsFile = `${dir.path}/metrics.prom`;
  const args = [...world.args, "--metrics-file", statsFile];
  await using daemon = await DaemonProcess.start(world.depot, args);
  const workers = world.workers(seed, workerCount);
  try {
    await Promise.all(workers.map((worker) => worker.work(Math.ceil(operations / workerCount))));
    await world.verify();
  } catch (error) {
    throw new Error(`seed ${seed}: ${(error as Error).message}\n${daemon.log().slice(-2000)}`);
  } finally {
    for (const worker of workers) await worker[Symbol.asyncDispose]();
  }
  await daemon.stop();
  return readCounts(statsFile);
}

if (import.meta.main) {
  const text = (value: string) => ({ type: "string", default: value }) as const;
  const { values } = parseArgs({
    args: Deno.args,
    options: {
      seed: text(String(Date.now() % 1_000_000)),
      ops: text("200000"),
      workers: text("4"),
      faults: { type: "boolean", default: false },
    },
  });
  console.log(`oracle run: seed ${values.seed}, ${values.ops} operations`);
  const [seed, operations, workers] = [values.seed, values.ops, values.workers].map(Number);
  const result = await runOracle(seed!, operations!, workers, values.faults);
  const { evictions, restores, failures } = result;
  console.log(
    `All alike: ${evictions} evictions, ${restores} restores, ${failures} failed attempts`,
  );
}
