/**
 * `p4-cache bench backend`: measures the configured storage from this machine, with the daemon's own
 * limits and retries, and removes what it stored.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { counted } from "../counted.ts";
import { ConfigError, EnvironmentError } from "../errors.ts";
import type { BenchResult } from "../storage/bench.ts";
import { addDaemonFlags, flagsOf } from "./daemon_flags.ts";
import type { Terminal } from "./terminal.ts";

const MIB = 1024 ** 2;

interface Options {
  readonly seconds: number;
  readonly largeMib: number;
  readonly json?: true;
}

const BENCH_EXAMPLE = "Examples:\n  p4-cache bench backend --config /etc/p4-cache/config.json\n";

/** Adds `bench backend`. */
export function addBenchCommand(program: Command, terminal: Terminal): void {
  const bench = program.command("bench").description("measure what p4-cache relies on")
    .addHelpText("before", BENCH_EXAMPLE);
  const backend = bench.command("backend").description(
    "put and get objects in the primary storage, and remove them",
  );
  backend
    .addOption(option("--seconds <n>", "longest time of each step with many objects", 3, 1, 600))
    .addOption(option("--large-mib <n>", "size of the large object", 256, 1, 1024 * 1024))
    .option("--json", "print one JSON document")
    .addHelpText("before", BENCH_EXAMPLE);
  addDaemonFlags(backend);
  backend.action(async (options: Options) => {
    const { loadServiceConfig } = await import("./service_environment.ts");
    const flags = flagsOf(program, backend);
    const config = await loadServiceConfig(known(flags));
    if (config.readOnly) {
      throw new ConfigError("Cannot measure the storage with read_only: objects are stored in it");
    }
    const { openStorage } = await import("./storage.ts");
    const storage = await openStorage(config);
    try {
      const { Bench } = await import("../storage/bench.ts");
      const plan = { seconds: options.seconds, largeBytes: options.largeMib * MIB };
      await measure(new Bench(storage.primary, plan), options.json === true, terminal);
    } finally {
      await storage.close();
    }
  });
}

async function measure(
  bench: import("../storage/bench.ts").Bench,
  asJson: boolean,
  terminal: Terminal,
): Promise<void> {
  const { RESULTS } = await import("../storage/bench.ts");
  const { startProgress } = await import("./progress.ts");
  const stopping = new AbortController(), leaving = new AbortController();
  const stop = () => (stopping.signal.aborted ? leaving : stopping).abort();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.addSignalListener(signal, stop);
  terminal.err(`Objects are stored as ${bench.place}… and removed at the end\n`);
  const progress = startProgress("steps", RESULTS);
  const results: BenchResult[] = [];
  let failure: unknown = null;
  try {
    const onStep = (what: string) => progress.update(results.length, null, what);
    for await (const result of bench.run(stopping.signal, onStep)) results.push(result);
  } catch (error) {
    failure = error;
  }
  progress.update(results.length, null, "removing the objects");
  const left = await bench.clean(leaving.signal);
  progress.stop();
  for (const signal of ["SIGINT", "SIGTERM"] as const) Deno.removeSignalListener(signal, stop);
  terminal.out(
    asJson
      ? `${JSON.stringify({ place: bench.place, results }, null, 2)}\n`
      : results.map(resultLine).join(""),
  );
  const leftText = left === 0
    ? ""
    : `; ${counted(left, "object")} left as ${bench.place}…, to be removed`;
  if (stopping.signal.aborted) throw new EnvironmentError(`Stopped${leftText}`);
  if (failure !== null) {
    const why = failure instanceof Error ? failure.message : String(failure);
    throw new EnvironmentError(why + leftText);
  }
  if (left > 0) throw new EnvironmentError(`Measured${leftText}`);
}

/** One line of the table. */
export function resultLine(result: BenchResult): string {
  const { operation, objectBytes, inFlight, objects, seconds, cpuSeconds } = result;
  const bytes = objectBytes * objects;
  const size = objectBytes < MIB ? `${objectBytes / 1024} KiB` : `${objectBytes / MIB} MiB`;
  const cpu = objectBytes < MIB
    ? `${(cpuSeconds / objects * 1e6).toFixed(0)} us CPU each`
    : `${(cpuSeconds / bytes * 1024 ** 3).toFixed(2)} s CPU per GiB`;
  const columns = [
    operation.toUpperCase(),
    size.padStart(8),
    `${inFlight} in flight`.padStart(13),
    `${(objects / seconds).toFixed(objects / seconds < 10 ? 2 : 0)}/s`.padStart(9),
    `${(bytes / seconds / MIB).toFixed(1)} MiB/s`.padStart(13),
    `median ${result.medianMs.toFixed(1)} ms, 99 % ${result.p99Ms.toFixed(1)} ms`.padStart(32),
    cpu.padStart(19),
    `peak RSS ${(result.peakRssBytes / MIB).toFixed(0)} MiB`,
  ];
  return `${columns.join("  ")}\n`;
}

function option(flags: string, help: string, fallback: number, min: number, max: number): Option {
  return new Option(flags, help).default(fallback).argParser((text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    const name = flags.split(" ")[0];
    throw new ConfigError(
      `Cannot use ${name} '${text}': allowed is a whole number from ${min} to ${max}`,
    );
  });
}

/** The daemon's flags among those typed. */
function known(flags: Map<string, string | true>): Map<string, string | true> {
  for (const own of ["--seconds", "--large-mib", "--json"]) flags.delete(own);
  return flags;
}
