/**
 * `p4-cache version`: what this binary is.
 *
 * @module
 */

import type { Command } from "commander";
import { PROGRAM_NAME, VERSION } from "../version.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `version [--json]`. */
export function addVersionCommand(program: Command, terminal: Terminal): void {
  program.command("version")
    .description("print the version")
    .option("--json", "as JSON, with runtime and platform")
    .addHelpText("before", "Examples:\n  p4-cache version --json\n")
    .action((options: { json?: boolean }) => {
      const facts = {
        name: PROGRAM_NAME,
        version: VERSION,
        deno: Deno.version.deno,
        target: Deno.build.target,
      };
      terminal.out(options.json ? `${JSON.stringify(facts)}\n` : `${PROGRAM_NAME} ${VERSION}\n`);
    });
}
