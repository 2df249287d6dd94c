/**
 * What a service has in its environment, for the commands that speak to the storage by themselves: an
 * administrator's shell has none of the secrets that systemd gives to the daemon.
 *
 * A unit is known by the place of its configuration, as the units that we install name it. What is set in
 * the shell wins over the service's.
 *
 * @module
 */

import { basename, dirname, resolve } from "node:path/posix";
import type { Config } from "../config/config.ts";
import { CONFIG_FLAG } from "../config/setting.ts";
import { DEPOTS_DIR } from "./depot_files.ts";

/** Where the units look for configurations and environments. */
const SETTINGS_DIR = "/etc/p4-cache";

/** Where systemd keeps the credentials of units that run (systemd.exec(5)). */
const CREDENTIALS_DIR = "/run/credentials";

const NAME_IN_SYSTEMD = "CREDENTIALS_DIRECTORY";

/** A line of an environment file; quotes around the value belong to the line. */
const ASSIGNMENT = /^\s*([A-Za-z_]\w*)=\s*(?:"(.*)"|'(.*)'|(.*?))\s*$/;

/**
 * Loads the configuration that the flags name, with the secrets that its service has.
 * @throws ConfigError as `loadConfig` does
 */
export async function loadServiceConfig(
  flags: ReadonlyMap<string, string | true>,
): Promise<Config> {
  const { loadConfig } = await import("../config/load.ts");
  const file = flags.get(CONFIG_FLAG);
  if (typeof file === "string") adoptServiceEnvironment(file);
  return loadConfig(flags, (name) => Deno.env.get(name));
}

/**
 * Sets each variable of the service that is not set yet. What cannot be read is left out: the storage says
 * what it misses.
 * @param config Path of the configuration.
 * @param root Put before every path, for tests.
 */
export function adoptServiceEnvironment(config: string, root = ""): void {
  const service = serviceOf(resolve(Deno.cwd(), config), root);
  if (service === null) return;
  const variables = new Map(assignments(`${root}${SETTINGS_DIR}/${service.environment}`));
  const credentials = `${root}${CREDENTIALS_DIR}/${service.unit}`;
  if (isDirectory(credentials)) variables.set(NAME_IN_SYSTEMD, credentials);
  for (const [name, value] of variables) {
    if (!Deno.env.has(name)) Deno.env.set(name, value);
  }
}

/** The unit that runs with the configuration, and its environment file; null for any other place. */
function serviceOf(path: string, root: string): { unit: string; environment: string } | null {
  const dir = dirname(path), name = basename(path, ".json");
  if (dir === root + DEPOTS_DIR) return { unit: "p4-cache-depots.service", environment: "env" };
  if (dir !== root + SETTINGS_DIR) return null;
  return name === "config"
    ? { unit: "p4-cache.service", environment: "env" }
    : { unit: `p4-cache@${name}.service`, environment: `${name}.env` };
}

function assignments(file: string): [string, string][] {
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch {
    return [];
  }
  return text.split("\n").flatMap((line) => {
    const [, name, ...values] = ASSIGNMENT.exec(line) ?? [];
    return name === undefined ? [] : [[name, values.find((value) => value !== undefined) ?? ""]];
  });
}

function isDirectory(path: string): boolean {
  try {
    return Deno.statSync(path).isDirectory;
  } catch {
    return false;
  }
}
