/**
 * Entry point: hands the arguments to the program and ends with its exit code.
 *
 * @module
 */

import { argumentsFor } from "./src/commands/program_name.ts";
import { runProgram } from "./src/commands/program.ts";
import { processTerminal } from "./src/commands/terminal.ts";

Deno.exit(await runProgram(argumentsFor(Deno.args), processTerminal()));
