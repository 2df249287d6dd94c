/**
 * Writes `docs/reference/configuration.md` from the table of settings.
 *
 * @module
 */

import { allowedText } from "./kinds.ts";
import { LIVE_FIELDS, PLACE_FIELDS } from "./live.ts";
import { BACKEND_SETTINGS } from "./backend_settings.ts";
import { DAEMON_SETTINGS } from "./daemon_settings.ts";
import { flagName, type Setting } from "./setting.ts";

const HEAD = `# Configuration

<!-- Made by \`deno task docs\` from src/config/*_settings.ts; changes here are lost. -->

Every setting is a flag, a JSON key, or both. Flags win over the JSON file named by \`--config FILE\`, the
file wins over the environment, the environment over defaults. "GB" means GiB (1024³ bytes). A size is
given either in GB or in bytes, not both. Relative paths count from the current directory.

A wrong name or value ends the program with exit code 2 before anything is touched; the message says
what is allowed. \`p4-cache config check\` tries a configuration, \`p4-cache config print\` shows what it
comes to, and \`p4-cache config schema\` prints a JSON Schema for editors.

Settings marked ↻ take effect when the daemon is told to reload (SIGHUP, \`systemctl reload\`), all others
when it starts. A reload reads the file again; flags stay as they were given. A wrong configuration is
refused, and the old one stays in force.
`;

const BACKEND_HEAD = `
## Storage

The keys below stand in the objects \`primary\` and \`secondary\`; every \`--primary-X\` has its
\`--secondary-X\`. The primary is required. The secondary is only ever read, for files that the primary
does not have.
`;

const COLUMNS = "| flag | JSON key | allowed | default | what |\n|---|---|---|---|---|\n";

/** The whole page. */
export function referencePage(): string {
  let page = HEAD;
  for (const [group, settings] of Map.groupBy(DAEMON_SETTINGS, (setting) => setting.group)) {
    page += `\n## ${group}\n\n${COLUMNS}`;
    for (const setting of settings) page += row(setting, flagName(setting, null), "");
  }
  page += `${BACKEND_HEAD}\n${COLUMNS}`;
  for (const setting of BACKEND_SETTINGS) {
    page += row(setting, flagName(setting, "primary"), ` (${setting.types.join(", ")})`);
  }
  return page;
}

function row(setting: Setting, flag: string | null, types: string): string {
  const cells = [
    flag === null ? "—" : `\`${flag}\``,
    `\`${setting.key}\``,
    allowedCell(setting),
    defaultCell(setting),
    `${setting.help}${types}${isLive(setting, types !== "") ? " ↻" : ""}`,
  ];
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |\n`;
}

function isLive({ field }: Setting, isBackend: boolean): boolean {
  return isBackend ? !PLACE_FIELDS.has(field) : LIVE_FIELDS.has(field);
}

function allowedCell({ kind }: Setting): string {
  const inQuotes = kind.is === "switch" && kind.orText ? ", also in quotes" : "";
  return allowedText(kind) + inQuotes;
}

function defaultCell(setting: Setting): string {
  const env = setting.env === undefined ? "" : `\`${setting.env}\`, then `;
  if (setting.required) return "required";
  if (setting.fallbackText !== undefined) return env + setting.fallbackText;
  if (setting.fallback === null) return "none";
  if (Array.isArray(setting.fallback)) return "none";
  return `\`${setting.fallback}\``;
}

if (import.meta.main) {
  const page = new URL("../../docs/reference/configuration.md", import.meta.url);
  Deno.writeTextFileSync(page, referencePage());
}
