/**
 * Writes `docs/reference/commands.md` from the command line itself.
 *
 * @module
 */

import { allCommands, type CommandFacts, commandFacts, OWN_OPTIONS } from "./command_tree.ts";
import { buildProgram } from "./program.ts";

const HEAD = `# Commands

<!-- Made by \`deno task docs\` from the command line itself; changes here are lost. -->

\`p4-cache [flags]\` runs the daemon; its flags are in [configuration](configuration.md). The commands below
are for people and scripts. Each tells the same with \`--help\`.

- Results go to standard output, messages to standard error; progress is shown only on a terminal.
- \`--json\` prints JSON whose names stay: more may be added, none renamed.
- Exit code 0: all went well. 1: it failed, or a check found something. 2: a wrong flag or setting;
  nothing was touched.
- Most commands need the depot's daemon, and run as root or as the daemon's user. The depot is the one that
  \`--depot-path\` or \`--config\` names, else \`$P4CACHE_DEPOT\`, else the one around the current directory,
  else that of \`/etc/p4-cache/config.json\`.
`;

/** Said once at the top instead of with each command. */
const COMMON = new Set(["--depot-path", "--config"]);

/** The whole page. */
export function commandsPage(root: CommandFacts): string {
  return HEAD + [...allCommands(root)].slice(1).map(section).join("");
}

function section({ path, args, help, options, examples, commands }: CommandFacts): string {
  let text = `\n## p4-cache ${[...path, args].join(" ").trim()}\n\n`;
  if (help !== "") text += `${help.charAt(0).toUpperCase()}${help.slice(1)}.\n`;
  if (examples.length > 0) text += `\n\`\`\`sh\n${examples.join("\n")}\n\`\`\`\n`;
  const own = options.filter(({ long, group }) => group === OWN_OPTIONS && !COMMON.has(long));
  if (own.length > 0 && commands.length === 0) {
    text += "\n| option | what |\n|---|---|\n";
    for (const { usage, help } of own) {
      text += `| \`${usage}\` | ${help.replaceAll("|", "\\|")} |\n`;
    }
  }
  return text;
}

if (import.meta.main) {
  const silent = { out: () => {}, err: () => {}, isInteractive: false };
  const page = new URL("../../docs/reference/commands.md", import.meta.url);
  const program = buildProgram([], silent, () => {});
  Deno.writeTextFileSync(page, commandsPage(commandFacts(program)));
}
