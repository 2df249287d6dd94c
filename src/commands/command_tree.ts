/**
 * The command line as plain data: what completions, the man page and the reference are made from.
 *
 * @module
 */

import type { Command } from "commander";
import type { EventEmitter } from "node:events";
import { choicesOf } from "./daemon_flags.ts";

/** The group of options that are a command's own, not the daemon's. */
export const OWN_OPTIONS = "Options:";

/** An option as people type it. */
export interface OptionFacts {
  /** `--json`, or `--limit <n>`. */
  readonly usage: string;
  readonly long: string;
  readonly takesValue: boolean;
  /** All values that are allowed; empty where they cannot be listed. */
  readonly values: readonly string[];
  readonly help: string;
  /** Heading under which help shows it. */
  readonly group: string;
}

/** A command with all below it. */
export interface CommandFacts {
  /** Words after the program's name; empty for the program. */
  readonly path: readonly string[];
  readonly help: string;
  /** `<path...>`. */
  readonly args: string;
  /** All that may stand there; empty where that cannot be listed. */
  readonly argValues: readonly string[];
  readonly options: readonly OptionFacts[];
  /** Command lines, one each, as `--help` shows them first. */
  readonly examples: readonly string[];
  /** What `--help` says at the end. */
  readonly notes: string;
  readonly commands: readonly CommandFacts[];
}

/** Reads the tree. @param path Words that lead to the command. */
export function commandFacts(command: Command, path: readonly string[] = []): CommandFacts {
  return {
    path,
    help: command.description(),
    args: command.registeredArguments.map((argument) => {
      const name = argument.variadic ? `${argument.name()}...` : argument.name();
      return argument.required ? `<${name}>` : `[${name}]`;
    }).join(" "),
    argValues: command.registeredArguments.flatMap((argument) => argument.argChoices ?? []),
    options: command.options.filter((option) => !option.hidden && option.long).map((option) => ({
      usage: option.flags,
      long: option.long!,
      takesValue: option.required || option.optional,
      values: option.argChoices ?? choicesOf(option.long!),
      help: option.argChoices === undefined
        ? option.description
        : `${option.description} (${option.argChoices.join(", ")})`,
      group: option.helpGroupHeading ?? OWN_OPTIONS,
    })),
    examples: helpText(command, "beforeHelp").split("\n")
      .map((line) => line.trim())
      .filter((line) => /^(p4-cache|[a-z-]+ .*p4-cache|\. )/.test(line)),
    notes: helpText(command, "afterHelp").trim(),
    commands: command.commands.map((each) => commandFacts(each, [...path, each.name()])),
  };
}

/** Every command of the tree, parents first. */
export function* allCommands(root: CommandFacts): Generator<CommandFacts> {
  yield root;
  for (const command of root.commands) yield* allCommands(command);
}

/** What was added to the help at one place; the library only hands it to listeners. */
function helpText(command: Command, event: "beforeHelp" | "afterHelp"): string {
  let text = "";
  (command as unknown as EventEmitter).emit(event, {
    error: false,
    command,
    write: (part: string) => text += part,
  });
  return text;
}
