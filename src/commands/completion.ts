/**
 * `p4-cache completion bash|zsh|fish`: a script that completes commands and flags, made from the
 * command line itself.
 *
 * @module
 */

import { Argument, type Command } from "commander";
import { PROGRAM_NAME } from "../version.ts";
import { allCommands, type CommandFacts, commandFacts } from "./command_tree.ts";
import type { Terminal } from "./terminal.ts";

const SHELLS = ["bash", "zsh", "fish"] as const;
type Shell = typeof SHELLS[number];

/** Adds `completion <shell>`. */
export function addCompletionCommand(program: Command, terminal: Terminal): void {
  program.command("completion")
    .addArgument(new Argument("<shell>", "the shell").choices(SHELLS))
    .description("print a completion script for a shell")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache completion bash > /usr/share/bash-completion/completions/p4-cache\n" +
        "  p4-cache completion zsh > /usr/share/zsh/vendor-completions/_p4-cache\n" +
        "  p4-cache completion fish > /etc/fish/completions/p4-cache.fish\n",
    )
    .action((shell: Shell) => terminal.out(completionScript(commandFacts(program), shell)));
}

/** The whole script. */
export function completionScript(root: CommandFacts, shell: Shell): string {
  if (shell === "fish") return fishScript(root);
  if (shell === "bash") return bashScript(root);
  return zshScript(root);
}

/**
 * One `case` branch a command: the words that may follow it, and its flags that take a value; and one for
 * each flag whose values are known.
 */
function bashScript(root: CommandFacts): string {
  const branches = Array.from(allCommands(root), (command) => {
    const words = [
      ...command.commands.map(nameOf),
      ...command.argValues,
      ...command.options.map((o) => o.long),
      "--help",
    ];
    const valued = command.options.filter((option) => option.takesValue).map((o) => o.long);
    return `    ${quoted(command.path.join(" "))}) words=${quoted(words.join(" "))} ` +
      `valued=${quoted(valued.join(" "))} ;;\n`;
  });
  const values = Array.from(allCommands(root)).flatMap((command) =>
    command.options.filter((option) => option.values.length > 0).map((option) =>
      `    ${quoted([...command.path, option.long].join(" "))}) ` +
      `words=${quoted(option.values.join(" "))} ;;\n`
    )
  );
  return `# bash completion for ${PROGRAM_NAME}; made by '${PROGRAM_NAME} completion bash'
_p4_cache_words() {
  case "$1" in
${branches.join("")}    *) return 1 ;;
  esac
}
_p4_cache_values() {
  case "$1" in
${values.join("")}    *) return 1 ;;
  esac
}
_p4_cache() {
  local current=\${COMP_WORDS[COMP_CWORD]} at='' words valued i word
  _p4_cache_words ''
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=\${COMP_WORDS[i]}
    case " $valued " in *" $word "*) i=$((i + 1)); continue ;; esac
    [[ $word == -* ]] && continue
    if _p4_cache_words "\${at:+$at }$word"; then at=\${at:+$at }$word; fi
  done
  _p4_cache_words "$at"
  case " $valued " in
    *" \${COMP_WORDS[COMP_CWORD - 1]} "*)
      words=''
      _p4_cache_values "\${at:+$at }\${COMP_WORDS[COMP_CWORD - 1]}" ;;
  esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [[ \${#COMPREPLY[@]} -gt 0 ]] || compopt -o default 2> /dev/null
}
complete -F _p4_cache ${PROGRAM_NAME}
`;
}

/** One function a command, each with its flags and what follows it. */
function zshScript(root: CommandFacts): string {
  const functions = Array.from(allCommands(root), (command) => {
    const flags = command.options.map((option) => {
      const help = option.help.replaceAll(/[[\]:\\]/g, " ");
      const value = option.takesValue ? `:value:${zshValues(option.values)}` : "";
      return `    ${quoted(`${option.long}[${help}]${value}`)}`;
    });
    const rest = command.commands.length === 0
      ? `    '*:argument:${zshValues(command.argValues)}'`
      : `    '1: :->command' '*:: :->rest'`;
    const names = command.commands.map((each) =>
      `      ${quoted(`${nameOf(each)}:${each.help.replaceAll(":", " ")}`)}`
    );
    const more = command.commands.length === 0 ? "" : `  case $state in
    command) local -a commands=(
${names.join("\n")}
    ); _describe command commands ;;
    rest) local next=${
      functionOf(command)
    }_$words[1]; (( $+functions[$next] )) && $next || _files ;;
  esac
`;
    return `${functionOf(command)}() {
  local state line
  _arguments -C \\
${[...flags, `    '--help[print this help]'`, rest].join(" \\\n")}
${more}}
`;
  });
  return `#compdef ${PROGRAM_NAME}
# made by '${PROGRAM_NAME} completion zsh'
${functions.join("")}${functionOf(root)} "$@"
`;
}

function zshValues(values: readonly string[]): string {
  return values.length === 0 ? "_files" : `(${values.join(" ")})`;
}

function fishScript(root: CommandFacts): string {
  const lines = [
    `# fish completion for ${PROGRAM_NAME}; made by '${PROGRAM_NAME} completion fish'`,
    `complete -c ${PROGRAM_NAME} -l help -d 'print this help'`,
  ];
  for (const command of allCommands(root)) {
    const condition = fishCondition(command);
    for (const each of command.commands) {
      lines.push(
        `complete -c ${PROGRAM_NAME} -f -n ${quoted(condition)} -a ${quoted(nameOf(each))} ` +
          `-d ${quoted(each.help)}`,
      );
    }
    for (const option of command.options) {
      lines.push(
        `complete -c ${PROGRAM_NAME} -n ${quoted(condition)} -l ${option.long.slice(2)} ` +
          `${option.takesValue ? fishValues(option.values) : ""}-d ${quoted(option.help)}`,
      );
    }
    if (command.argValues.length > 0) {
      lines.push(
        `complete -c ${PROGRAM_NAME} -f -n ${quoted(condition)} -a ${
          quoted(command.argValues.join(" "))
        }`,
      );
    }
  }
  return lines.join("\n") + "\n";
}

function fishValues(values: readonly string[]): string {
  return values.length === 0 ? "-r " : `-x -a ${quoted(values.join(" "))} `;
}

/** Holds where the command was typed, and none of those below it. */
function fishCondition({ path, commands }: CommandFacts): string {
  if (path.length === 0) return "__fish_use_subcommand";
  const seen = path.map((word) => `__fish_seen_subcommand_from ${word}`).join("; and ");
  if (commands.length === 0) return seen;
  return `${seen}; and not __fish_seen_subcommand_from ${commands.map(nameOf).join(" ")}`;
}

function nameOf(command: CommandFacts): string {
  return command.path.at(-1)!;
}

function functionOf({ path }: CommandFacts): string {
  return ["_p4-cache", ...path].join("_");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
