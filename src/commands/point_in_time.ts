/**
 * `p4-cache ls --at` and `restore --at`: what the bucket's versions say was there at a moment. Needs no
 * daemon, and touches neither the depot nor the bucket.
 *
 * @module
 */

import { dirname, resolve } from "node:path/posix";
import { type DepotPath, displayPath } from "../depot_path.ts";
import type { ObjectInfo } from "../storage/backend.ts";
import type { History, ObjectVersion } from "../storage/history.ts";
import { ConfigError, EnvironmentError, reasonOf } from "../errors.ts";
import { sizeText } from "../amounts.ts";
import { depotPathOf } from "./arguments.ts";
import { ByteOutput } from "./byte_output.ts";
import { chosenConfig, configOfDepot, type DepotChoice, findDepot } from "./control_client.ts";
import { timeOf } from "./moments.ts";
import type { Terminal } from "./terminal.ts";

/** What `ls --at` is told. */
export interface ListThenOptions extends DepotChoice {
  readonly at: string;
  readonly long?: boolean;
  readonly json?: boolean;
}

/** Lists what was there below a path. */
export async function listThen(
  options: ListThenOptions,
  typed: string,
  terminal: Terminal,
): Promise<void> {
  const atMs = timeOf(options.at, "--at");
  const { versionsAt } = await import("../storage/history.ts");
  const line = ({ path, version, size, storedMs }: ObjectVersion) => {
    const name = displayPath(path), time = new Date(storedMs).toISOString();
    if (options.json) return JSON.stringify({ path: name, size, version, stored: time });
    return options.long ? `${String(size).padStart(14)} ${time.slice(0, 19)}Z ${name}` : name;
  };
  await withHistory(options, async (history, depot) => {
    const path = depotPathOf(typed, depot);
    const signal = new AbortController().signal;
    for await (const version of versionsAt(history, path, atMs, signal)) {
      const isBelow = path === "" || version.path === path || version.path.startsWith(path + "/");
      if (isBelow) terminal.out(line(version) + "\n");
    }
  });
}

/** What `restore --at` is told. */
export interface RestoreThenOptions extends DepotChoice {
  readonly at: string;
  readonly to?: string;
  readonly json?: boolean;
}

/** Writes what one file was to standard output, or to a new file. */
export async function restoreThen(
  options: RestoreThenOptions,
  typed: readonly string[],
  terminal: Terminal,
): Promise<void> {
  const [one, ...others] = typed;
  if (one === undefined || others.length > 0) {
    throw new ConfigError("Cannot restore with --at: allowed is one file at a time");
  }
  if (options.json && options.to === undefined) {
    throw new ConfigError("Cannot restore to standard output with --json: give --to");
  }
  const atMs = timeOf(options.at, "--at");
  const { readVersion, versionAt } = await import("../storage/history.ts");
  await withHistory(options, async (history, depot) => {
    const path = depotPathOf(one, depot) as DepotPath;
    const signal = new AbortController().signal;
    const found = await named(path, () => versionAt(history, path, atMs, signal));
    const write = (take: (bytes: Uint8Array) => void) =>
      named(path, () => readVersion(history, found, take, signal));
    if (options.to === undefined) {
      const output = new ByteOutput(null);
      await write((bytes) => output.write(bytes));
      return;
    }
    assertOutside(options.to, depot);
    await writeFile(options.to, write);
    const stored = new Date(found.storedMs).toISOString();
    const name = displayPath(path);
    terminal.out(
      options.json
        ? JSON.stringify({ path: name, to: options.to, size: found.size, stored }) + "\n"
        : `${options.to} is ${name} as it was stored at ${stored} (${sizeText(found.size)})\n`,
    );
  });
}

/** In the depot it would be a file of p4d's, perhaps over one that is evicted. */
function assertOutside(to: string, depot: string): void {
  let dir: string;
  try {
    dir = Deno.realPathSync(dirname(resolve(Deno.cwd(), to))) + "/";
  } catch (error) {
    throw new EnvironmentError(`Cannot write ${to}: ${reasonOf(error)}`);
  }
  if (!dir.startsWith(Deno.realPathSync(depot) + "/")) return;
  throw new ConfigError(`Cannot write ${to}: it is in the depot; allowed is a file outside of it`);
}

/** Writes a new file, with its time and mode; nothing is left of one that is not whole. */
async function writeFile(
  to: string,
  write: (take: (bytes: Uint8Array) => void) => Promise<ObjectInfo>,
): Promise<void> {
  const doing = `Cannot write ${to}`;
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(to, { write: true, createNew: true });
  } catch (error) {
    throw new EnvironmentError(
      error instanceof Deno.errors.AlreadyExists
        ? `${doing}: it is there; allowed is a name that is free`
        : `${doing}: ${reasonOf(error)}`,
    );
  }
  try {
    const info = await write((bytes) => {
      for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
    });
    if (info.mode !== null) Deno.chmodSync(to, info.mode);
    if (info.mtimeNs !== null) {
      const seconds = Number(info.mtimeNs) / 1e9;
      Deno.utimeSync(to, seconds, seconds);
    }
  } catch (error) {
    Deno.removeSync(to);
    throw error;
  } finally {
    file.close();
  }
}

async function withHistory(
  options: DepotChoice,
  work: (history: History, depot: string) => Promise<void>,
): Promise<void> {
  const depot = findDepot(options);
  const file = chosenConfig(options) ?? configOfDepot(depot);
  if (file === null) {
    throw new ConfigError("Cannot go back in time: the storage is not known; give --config");
  }
  const { loadServiceConfig } = await import("./service_environment.ts");
  const { openHistory } = await import("../storage/open_history.ts");
  const config = await loadServiceConfig(new Map([["--config", file]]));
  const history = await openHistory(config.primary);
  try {
    await work(history, depot);
  } finally {
    await history.close();
  }
}

/** Has an error name the file. */
async function named<T>(path: DepotPath, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    throw new EnvironmentError(`Cannot restore ${displayPath(path)}: ${reasonOf(error)}`);
  }
}
