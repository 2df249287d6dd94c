/**
 * The daemon's flags on the command line: declared from the table of settings, collected as text.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { configOfUsualDepot } from "./control_client.ts";
import { allowedText, placeholder } from "../config/kinds.ts";
import { BACKEND_SETTINGS } from "../config/backend_settings.ts";
import { DAEMON_SETTINGS } from "../config/daemon_settings.ts";
import {
  BACKEND_TYPES,
  type BackendSetting,
  CONFIG_FLAG,
  flagName,
  type Role,
  ROLES,
  type Setting,
} from "../config/setting.ts";
import { ConfigError } from "../errors.ts";

const DEPOT_FLAG = "--depot-path";

/** Declares every daemon flag on the command. */
export function addDaemonFlags(command: Command): void {
  command.addOption(
    new Option(`${CONFIG_FLAG} <path>`, "JSON file with settings").helpGroup("Configuration:"),
  );
  for (const setting of DAEMON_SETTINGS) addFlag(command, setting, null, `${setting.group}:`);
  for (const role of ROLES) {
    for (const setting of BACKEND_SETTINGS) {
      addFlag(command, setting, role, "Storage (every --primary-X has its --secondary-X):");
    }
  }
}

/** The flags that were typed, by their names; the values of later ones win. */
export function typedFlags(command: Command): Map<string, string | true> {
  const typed = new Map<string, string | true>();
  for (const option of command.options) {
    const attribute = option.attributeName();
    if (option.long === undefined || command.getOptionValueSource(attribute) !== "cli") continue;
    const value = command.getOptionValue(attribute);
    typed.set(option.long, typeof value === "string" ? value : true);
  }
  return typed;
}

/**
 * The flags of a command that reads a configuration: those of several commands, the last of which wins.
 * Where none names a configuration or a depot, the configuration of the depot that the other commands mean is
 * taken ({@link findDepot}).
 * @throws ConfigError when there is none.
 */
export function flagsOf(...commands: readonly Command[]): Map<string, string | true> {
  const flags = new Map(commands.flatMap((command) => [...typedFlags(command)]));
  if (flags.has(CONFIG_FLAG) || flags.has(DEPOT_FLAG)) return flags;
  const config = configOfUsualDepot();
  if (config !== null) return flags.set(CONFIG_FLAG, config);
  throw new ConfigError(
    "Cannot tell which configuration is meant: give --config, or --depot-path and the storage's " +
      "flags, or set P4CACHE_DEPOT to a depot that a service has",
  );
}

/** The names that a daemon flag may be given; none where it takes something else. */
export function choicesOf(flag: string): readonly string[] {
  for (const role of [null, ...ROLES]) {
    const settings: readonly Setting[] = role === null ? DAEMON_SETTINGS : BACKEND_SETTINGS;
    const setting = settings.find((each) => flagName(each, role) === flag);
    if (setting?.kind.is === "choice") return setting.kind.of;
  }
  return [];
}

function addFlag(command: Command, setting: Setting, role: Role | null, group: string): void {
  const name = flagName(setting, role);
  if (name === null) return;
  const value = placeholder(setting.kind);
  const usage = value === null ? name : `${name} <${value}>`;
  const option = new Option(usage, describe(setting)).helpGroup(group);
  // Shown once, for the primary.
  option.hideHelp(role === "secondary");
  command.addOption(option);
}

function describe(setting: Setting): string {
  const help = "types" in setting ? withTypes(setting as BackendSetting) : setting.help;
  if (setting.kind.is === "switch") return help;
  const facts = [choicesBeside(setting), setting.required ? "required" : defaultOf(setting)]
    .filter((fact) => fact !== null);
  return facts.length === 0 ? help : `${help} (${facts.join("; ")})`;
}

/** The names that may be given, unless the help has them all. */
function choicesBeside({ kind, help }: Setting): string | null {
  if (kind.is !== "choice" || kind.of.every((name) => help.includes(name))) return null;
  return allowedText(kind);
}

function defaultOf({ env, fallback, fallbackText }: Setting): string | null {
  const otherwise = fallbackText ?? fallback;
  if (otherwise === null) return null;
  return `default: ${env === undefined ? "" : `${env}, then `}${otherwise}`;
}

function withTypes({ help, types }: BackendSetting): string {
  return types.length === BACKEND_TYPES.length ? help : `${types.join(", ")}: ${help}`;
}
