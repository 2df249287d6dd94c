/**
 * `p4-cache man`: the manual page (man-pages(7), groff_man(7)), made from the command line itself.
 *
 * @module
 */

import type { Command } from "commander";
import { PROGRAM_NAME, VERSION } from "../version.ts";
import {
  allCommands,
  type CommandFacts,
  commandFacts,
  type OptionFacts,
  OWN_OPTIONS,
} from "./command_tree.ts";
import type { Terminal } from "./terminal.ts";

/** Adds `man`. */
export function addManCommand(program: Command, terminal: Terminal): void {
  program.command("man")
    .description("print the manual page")
    .addHelpText(
      "before",
      "Examples:\n  p4-cache man | man -l -\n  p4-cache man > /usr/share/man/man1/p4-cache.1\n",
    )
    .action(() => terminal.out(manualPage(commandFacts(program))));
}

/** The page in roff. */
export function manualPage(root: CommandFacts): string {
  const commands = [...allCommands(root)].slice(1);
  return [
    `.TH ${PROGRAM_NAME.toUpperCase()} 1 "" "${PROGRAM_NAME} ${VERSION}" "User Commands"`,
    ".SH NAME",
    `${text(PROGRAM_NAME)} \\- write\\-back NVMe cache for Perforce depots`,
    ".SH SYNOPSIS",
    `.B ${text(PROGRAM_NAME)}`,
    "[daemon flags]",
    ".br",
    `.B ${text(PROGRAM_NAME)}`,
    ".I command",
    "[options]",
    ".SH DESCRIPTION",
    "Without a command the daemon runs. Commands are for people; they talk to the daemon of a depot",
    "over a socket in the depot's state directory.",
    ".SH COMMANDS",
    ...commands.flatMap(commandSection),
    ".SH DAEMON FLAGS",
    ...root.options.flatMap(optionItem),
    ".SH SIGNALS",
    ...item("SIGTERM, SIGINT", "Stop; a second one stops at once."),
    ...item("SIGHUP", "Read the configuration again, and open the log file again."),
    ...item("SIGUSR1", "Open the log file again."),
    ...item("SIGUSR2", "Write the state to the log."),
    ".SH EXIT STATUS",
    ...item("0", "All went well."),
    ...item("1", "It failed, or a check found something; the reason is on standard error."),
    ...item("2", "A wrong flag, setting or command; nothing was touched."),
    ".SH FILES",
    ...item("/etc/p4-cache/config.json", "Configuration, where the installer puts it."),
    ...item("DEPOT/.p4cache/", "State directory: manifest, access log, sockets."),
    "",
  ].join("\n");
}

function commandSection(command: CommandFacts): string[] {
  const lines = [`.SS ${text([...command.path, command.args].join(" ").trim())}`];
  if (command.help !== "") lines.push(text(sentence(command.help)));
  const own = command.options.filter((option) => option.group === OWN_OPTIONS);
  lines.push(...own.flatMap(optionItem));
  if (own.length < command.options.length) lines.push(".PP", "Takes the daemon's flags too.");
  if (command.examples.length > 0) {
    lines.push(".PP", ".nf", ".RS", ...command.examples.map(text), ".RE", ".fi");
  }
  return lines;
}

function optionItem({ usage, help }: OptionFacts): string[] {
  return item(usage, sentence(help));
}

function item(term: string, help: string): string[] {
  return [".TP", `.B ${text(term)}`, text(help)];
}

function sentence(help: string): string {
  return help.charAt(0).toUpperCase() + help.slice(1) + (/[.!?]$/.test(help) ? "" : ".");
}

/** Text that roff prints as it is: no escapes, no hyphens that become typographic, no requests. */
function text(plain: string): string {
  return plain.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^([.'])/, "\\&$1")
    .replaceAll("…", "...");
}
