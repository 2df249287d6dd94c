/**
 * Entry point: hands the arguments to the program and ends with its exit code.
 *
 * @module
 */

import { runProgram } from "./src/commands/program.ts";
import { processTerminal } from "./src/commands/terminal.ts";

Deno.exit(await runProgram(Deno.args, processTerminal()));
