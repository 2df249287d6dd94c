/**
 * What is wrong with a command line, in one line: commander's errors in our words.
 *
 * @module
 */

import type { Command, CommanderError } from "commander";
import { nearest } from "../config/nearest.ts";
import { PROGRAM_NAME } from "../version.ts";

/** Commander's messages, by their codes, and what we say instead. */
const RULES: readonly [
  code: string,
  message: RegExp,
  ours: (parts: readonly string[], command: Command) => string,
][] = [
  [
    "commander.optionMissingArgument",
    /option '(?:-\w, )?(--\S+) (<[^>]+>)' argument missing/,
    ([flag, value]) => `Cannot use ${flag}: its value is missing; it takes ${value}`,
  ],
  [
    "commander.invalidArgument",
    /option '(?:-\w, )?(--\S+)[^']*' argument '(.*)' is invalid\. (.*)$/s,
    ([flag, value, allowed]) => `Cannot use ${flag} '${value}': ${allowedOf(allowed!)}`,
  ],
  [
    "commander.invalidArgument",
    /value '(.*)' is invalid for argument '(\S+)'\. (.*)$/s,
    ([value, name, allowed]) => `Cannot use ${name} '${value}': ${allowedOf(allowed!)}`,
  ],
  [
    "commander.missingArgument",
    /missing required argument '(\S+)'/,
    ([name], command) =>
      `Cannot run '${titleOf(command)}' without <${name}>; ${helpOf(command)} shows how`,
  ],
  [
    "commander.missingMandatoryOptionValue",
    /required option '(--\S+ <[^>]+>)' not specified/,
    ([flag], command) =>
      `Cannot run '${titleOf(command)}' without ${flag}; ${helpOf(command)} shows how`,
  ],
  [
    "commander.excessArguments",
    /too many arguments for '(\S+)'\. Expected (\d+)/,
    ([, most], command) =>
      command.commands.length > 0
        ? unknownCommand(command.args[0]!, command)
        : `Cannot run '${titleOf(command)}' with so many arguments; allowed is ${
          most === "0" ? "none" : `at most ${most}`
        }, see ${helpOf(command)}`,
  ],
];

/**
 * The line for a command line that could not be understood.
 * @param args As typed.
 */
export function usageProblem(
  error: CommanderError,
  program: Command,
  args: readonly string[],
): string {
  const command = commandOf(args, program);
  if (error.code === "commander.help") {
    const names = command.commands.map((each) => each.name());
    return `Cannot run '${titleOf(command)}' alone; allowed behind it is ${oneOf(names)}`;
  }
  const message = error.message.replace(/^error: /, "").replaceAll("\n", " ");
  // The value after '=' may be a secret.
  const flag = /unknown option '([^'=]+)/.exec(message)?.[1];
  if (flag !== undefined) {
    const stray = strayWord(args, command);
    if (stray !== undefined) return unknownCommand(stray, command);
    const meant = nearest(flag, flagNames(command));
    const hint = meant === null ? `${helpOf(command)} lists all` : `did you mean ${meant}?`;
    return `Cannot use ${flag}: unknown flag; ${hint}`;
  }
  const word = /unknown command '([^']*)'/.exec(message)?.[1];
  if (word !== undefined) return unknownCommand(word, command);
  for (const [code, pattern, ours] of RULES) {
    const parts = error.code === code ? pattern.exec(message) : null;
    if (parts !== null) return ours(parts.slice(1), command);
  }
  return message;
}

/** The line for a word that is no command behind this one. */
export function unknownCommand(word: string, command: Command): string {
  const names = command.commands.map((each) => each.name());
  const meant = nearest(word, names);
  const all = command.parent === null
    ? `${helpOf(command)} lists all`
    : `allowed is ${oneOf(names)}`;
  return `Cannot run '${word}': unknown command; ${
    meant === null ? all : `did you mean ${meant}?`
  }`;
}

/** Choices as our own checks list them. */
function allowedOf(text: string): string {
  const choices = /^Allowed choices are (.*)\.$/.exec(text)?.[1];
  if (choices === undefined) return text;
  return `allowed is ${choices.replace(/, ([^,]*)$/, " or $1")}`;
}

/** The command that the words name; they may stand between daemon flags. */
function commandOf(args: readonly string[], program: Command): Command {
  let command = program;
  for (const word of args) {
    command = command.commands.find((each) => each.name() === word) ?? command;
  }
  return command;
}

/** A word that stands where only a command can: flags behind it are nothing that we know. */
function strayWord(args: readonly string[], command: Command): string | undefined {
  const next = args[args.indexOf(command.name()) + 1];
  return command.commands.length > 0 && next?.startsWith("-") === false ? next : undefined;
}

function titleOf(command: Command): string {
  return namesOf(command).join(" ");
}

/** What to type for its help. */
function helpOf(command: Command): string {
  return `'${[PROGRAM_NAME, ...namesOf(command), "--help"].join(" ")}'`;
}

function oneOf(names: readonly string[]): string {
  return names.join(", ").replace(/, ([^,]*)$/, " or $1");
}

function namesOf(command: Command): string[] {
  return command.parent === null ? [] : [...namesOf(command.parent), command.name()];
}

function flagNames(command: Command): string[] {
  const own = command.options.map((option) => option.long).filter((name) => name !== undefined);
  return [...own, "--help"];
}
