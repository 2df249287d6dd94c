/**
 * `p4-cache config`: checks a configuration, shows what it comes to, prints its schema. Touches nothing.
 *
 * @module
 */

import type { Command } from "commander";
import { CONFIG_FLAG } from "../config/setting.ts";
import type { Config } from "../config/config.ts";
import { addDaemonFlags, flagsOf } from "./daemon_flags.ts";
import { addConfigInit } from "./config_init.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `config check|print|schema|init`. */
export function addConfigCommand(program: Command, terminal: Terminal): void {
  const config = program.command("config").description("check or show the configuration")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache config check --config /etc/p4-cache/config.json\n",
    );

  const check = config.command("check").description("check a configuration; exit 2 if it is wrong")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache config check --config /etc/p4-cache/config.json\n",
    );
  addDaemonFlags(check);
  check.action(async () => {
    const { value, flags } = await load(program, check);
    for (const warning of value.warnings) terminal.err(`p4-cache: warning: ${warning}\n`);
    const file = flags.get(CONFIG_FLAG);
    terminal.out(file === undefined ? "Configuration is valid\n" : `${file} is valid\n`);
  });

  const print = config.command("print").description("print what a configuration comes to, as JSON")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache config print --config /etc/p4-cache/config.json\n",
    );
  addDaemonFlags(print);
  print.action(async () => {
    const { value } = await load(program, print);
    const { configDocument } = await import("../config/print.ts");
    terminal.out(`${JSON.stringify(configDocument(value), null, 2)}\n`);
  });

  config.command("schema")
    .description("print a JSON Schema of the file")
    .addHelpText("before", "Examples:\n  p4-cache config schema > p4-cache.schema.json\n")
    .action(async () => {
      const { jsonSchema } = await import("../config/json_schema.ts");
      terminal.out(`${JSON.stringify(jsonSchema(), null, 2)}\n`);
    });
  addConfigInit(config, terminal);
}

/** Daemon flags may stand before the sub-command too; those after it win. */
async function load(
  program: Command,
  command: Command,
): Promise<{ value: Config; flags: Map<string, string | true> }> {
  const { loadServiceConfig } = await import("./service_environment.ts");
  const flags = flagsOf(program, command);
  return { value: await loadServiceConfig(flags), flags };
}
