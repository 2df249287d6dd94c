/**
 * How an admin command reaches its daemon: which depot is meant, and one request over the control
 * socket.
 *
 * @module
 */

import { existsSync } from "node:fs";
import type { Command } from "commander";
import { dirname, join, resolve } from "node:path/posix";
import { STATE_DIR } from "../depot_path.ts";
import { readDocument } from "../config/document.ts";
import { ConfigError, EnvironmentError } from "../errors.ts";
import { type DepotFile, depotFiles, DEPOTS_DIR } from "./depot_files.ts";

/** Where a package or the installer puts the configuration. */
const SYSTEM_CONFIG = "/etc/p4-cache/config.json";

/** The flags by which a command says which depot it means. */
export interface DepotChoice {
  readonly depot?: string;
  readonly depotPath?: string;
  readonly config?: string;
}

/** Adds `--depot-path` and `--config` to a command that talks to the daemon. */
export function addDepotOptions(command: Command): Command {
  return command
    .option("--depot-path <path>", "the depot, instead of the one found as below")
    .option("--config <path>", "configuration file that names the depot")
    .option("--depot <name>", "the depot whose configuration file has this name, as 'run' calls it")
    .addHelpText(
      "after",
      "\nThe depot is the one that --depot-path, --config or --depot names, else $P4CACHE_DEPOT, else " +
        `the\none around the current directory, else that of ${SYSTEM_CONFIG}, else the only one ` +
        `of\n${DEPOTS_DIR}.`,
    );
}

/**
 * The depot that is meant; see {@link addDepotOptions} for the order.
 * @throws ConfigError when none can be found.
 */
export function findDepot(choice: DepotChoice): string {
  if (choice.depotPath !== undefined) return resolve(Deno.cwd(), choice.depotPath);
  const config = chosenConfig(choice);
  if (config !== null) return depotOfConfig(config);
  const named = Deno.env.get("P4CACHE_DEPOT");
  if (named) return resolve(Deno.cwd(), named);
  const around = depotAround(Deno.cwd());
  if (around !== null) return around;
  if (hasSystemConfig()) return depotOfConfig(SYSTEM_CONFIG);
  const files = existsSync(DEPOTS_DIR) ? depotFiles(DEPOTS_DIR) : [];
  if (files.length === 1) return depotOfConfig(files[0]!.path);
  throw new ConfigError(
    "Cannot tell which depot is meant: give --depot-path or --config, or set P4CACHE_DEPOT" +
      (files.length === 0 ? "" : `; or --depot with one of ${namesOf(files)}`),
  );
}

/** The configuration that the flags name; null when they name none. */
export function chosenConfig({ config, depot }: DepotChoice): string | null {
  return config ?? (depot === undefined ? null : configNamed(depot));
}

/** The configuration of a depot among those that services have; null when it has none there. */
export function configOfDepot(depot: string): string | null {
  const dirs = [dirname(SYSTEM_CONFIG), DEPOTS_DIR].filter((dir) => existsSync(dir));
  const paths = dirs.flatMap((dir) => depotFiles(dir).map(({ path }) => path));
  const names = (path: string) => {
    try {
      return depotOfConfig(path) === depot;
    } catch {
      return false; // of another program, or not readable: it says nothing of this depot
    }
  };
  return paths.find(names) ?? null;
}

/** The configuration of the depot that is meant when nothing is said; null when there is none. */
export function configOfUsualDepot(): string | null {
  const named = Deno.env.get("P4CACHE_DEPOT");
  const depot = named ? resolve(Deno.cwd(), named) : depotAround(Deno.cwd());
  if (depot !== null) return configOfDepot(depot);
  return hasSystemConfig() ? SYSTEM_CONFIG : null;
}

/** @throws ConfigError when that cannot be told, as for users who may not use the daemon either. */
function hasSystemConfig(): boolean {
  try {
    return Deno.statSync(SYSTEM_CONFIG).isFile;
  } catch (error) {
    if (!(error instanceof Deno.errors.PermissionDenied)) return false;
    throw new ConfigError(
      `Cannot read ${SYSTEM_CONFIG}: permission denied for uid ${Deno.uid()}; ` +
        "run as root or the daemon's user, or name the depot with --depot-path",
    );
  }
}

/** The file of that name, where `run` has its own or where `p4-cache@.service` has them. */
function configNamed(name: string): string {
  const places = [DEPOTS_DIR, dirname(SYSTEM_CONFIG)].map((dir) => `${dir}/${name}.json`);
  const found = /^[^/]+$/.test(name) ? places.find((place) => existsSync(place)) : undefined;
  if (found !== undefined) return found;
  const files = existsSync(DEPOTS_DIR) ? depotFiles(DEPOTS_DIR) : [];
  throw new ConfigError(
    `Cannot find depot '${name}': there is no ${places.join(" and no ")}` +
      (files.length === 0 ? "" : `; allowed is ${namesOf(files)}`),
  );
}

function namesOf(files: readonly DepotFile[]): string {
  return files.map(({ name }) => name).join(", ");
}

/** @throws ConfigError when the file names no depot. */
export function depotOfConfig(path: string): string {
  const document = readDocument(path, Deno.readTextFileSync).value;
  const depot = (document as { depot_path?: unknown } | null)?.depot_path;
  if (typeof depot === "string") return resolve(Deno.cwd(), depot);
  throw new ConfigError(`Cannot find the depot in ${path}: it has no depot_path`);
}

function depotAround(start: string): string | null {
  for (let dir = start;; dir = dirname(dir)) {
    if (existsSync(join(dir, STATE_DIR))) return dir;
    if (dir === "/") return null;
  }
}

/**
 * Asks the depot's daemon.
 * @param onProgress Called with each progress value.
 * @returns The route's result.
 * @throws EnvironmentError when no daemon runs, or it reports an error.
 */
export async function askDaemon<Result>(
  depotPath: string,
  route: string,
  parameters: Record<string, unknown> = {},
  onProgress: (value: unknown) => void = () => {},
): Promise<Result> {
  const path = join(depotPath, STATE_DIR, "control.sock");
  using client = Deno.createHttpClient({ proxy: { transport: "unix", path } });
  let response: Response;
  try {
    response = await fetch(`http://localhost/${route}`, {
      method: "POST",
      body: JSON.stringify(parameters),
      client,
    });
  } catch (error) {
    throw new EnvironmentError(`Cannot reach the daemon of ${depotPath}: ${whyNot(path, error)}`);
  }
  for await (const line of linesOf(response)) {
    const answer = JSON.parse(line) as { progress?: unknown; result?: Result; error?: string };
    if (answer.error !== undefined) {
      throw new EnvironmentError(`Cannot run '${route}': ${answer.error}`);
    }
    if ("result" in answer) return answer.result as Result;
    onProgress(answer.progress);
  }
  throw new EnvironmentError(`Cannot run '${route}': the daemon went away before it was done`);
}

function whyNot(path: string, error: unknown): string {
  try {
    Deno.statSync(path);
  } catch (missing) {
    if (missing instanceof Deno.errors.PermissionDenied) {
      return `${path} may not be used by uid ${Deno.uid()}; run as root or the daemon's user`;
    }
    return `it is not running (${path} does not exist)`;
  }
  try {
    Deno.openSync(path).close();
  } catch (denied) {
    // open(2) of a socket gives ENXIO to whoever may, EACCES to others.
    if (denied instanceof Deno.errors.PermissionDenied) {
      return `${path} may not be used by uid ${Deno.uid()}; run as root or the daemon's user`;
    }
  }
  const why = error instanceof Error ? error.message : String(error);
  return /refused/i.test(why) ? "it is not running (nobody answers on its socket)" : why;
}

async function* linesOf(response: Response): AsyncGenerator<string> {
  let rest = "";
  const text = response.body?.pipeThrough(new TextDecoderStream());
  if (text === undefined) return;
  for await (const piece of text) {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!;
    yield* lines;
  }
  if (rest !== "") yield rest;
}
