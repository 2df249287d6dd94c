/**
 * `p4-cache support-bundle`: one file with what somebody needs who is to help, and no secret.
 *
 * @module
 */

import type { Command } from "commander";
import { join } from "node:path/posix";
import type { Config } from "../config/config.ts";
import { BACKEND_SETTINGS } from "../config/backend_settings.ts";
import { ROLES } from "../config/setting.ts";
import type { Patient } from "../doctor/examine.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { exists } from "../exists.ts";
import { VERSION } from "../version.ts";
import { addDepotOptions, askDaemon, type DepotChoice } from "./control_client.ts";
import { patientOf } from "./doctor.ts";
import type { Terminal } from "./terminal.ts";

/** What is taken of the log's end, bytes. */
const LOG_BYTES = 4 * 1024 * 1024;

/** Lines of the journal, where there is no log file. */
const JOURNAL_LINES = "5000";

/** Shorter values are no secrets, and replacing them would garble the texts. */
const SHORTEST_SECRET = 6;

const REDACTED = "***";

/** Adds `support-bundle`. */
export function addSupportBundleCommand(program: Command, terminal: Terminal): void {
  const command = program.command("support-bundle")
    .description("collect configuration, status, metrics, log and doctor, without secrets")
    .option("--output <file>", "where to (default: p4-cache-support-<time>.tar.gz)")
    .option("--json", 'as JSON: {"file": …, "parts": […]}')
    .addHelpText(
      "before",
      "Examples:\n  p4-cache support-bundle --config /etc/p4-cache/config.json\n",
    );
  addDepotOptions(command);
  command.action(async (options: DepotChoice & { output?: string; json?: boolean }) => {
    const patient = await patientOf(options);
    const time = new Date().toISOString().slice(0, 19).replaceAll(":", "");
    const output = options.output ?? `p4-cache-support-${time}.tar.gz`;
    const parts = await collect(patient);
    const config = typeof patient.config === "string" ? null : patient.config;
    pack(redact(parts, config), output, `p4-cache-support-${time}`);
    const names = [...parts.keys()];
    if (options.json) return terminal.out(JSON.stringify({ file: output, parts: names }) + "\n");
    terminal.out(
      `Wrote ${output}: ${names.join(", ")}\n` +
        "It has names of depot files, and no secrets; look into it before you send it\n",
    );
  });
}

/** Texts by the names of their files. What cannot be had says why in its place. */
async function collect(patient: Patient): Promise<Map<string, string>> {
  const { depot, config, daemon, why } = patient;
  const parts = new Map<string, string>();
  const add = async (name: string, read: () => Promise<string> | string) => {
    try {
      parts.set(name, await read());
    } catch (error) {
      parts.set(name, `not collected: ${(error as Error).message}\n`);
    }
  };
  await add("version.json", () => {
    const { deno } = Deno.version;
    return json({ version: VERSION, deno, target: Deno.build.target, kernel: Deno.osRelease() });
  });
  await add("config.json", async () => {
    if (config === null || typeof config === "string") return `${config ?? "no file is known"}\n`;
    const { configDocument } = await import("../config/print.ts");
    return json(configDocument(config));
  });
  await add("status.json", () => daemon === null ? `${why}\n` : json(daemon));
  await add("metrics.txt", () => askDaemon<string>(depot, "metrics"));
  await add("events.jsonl", async () => {
    let text = "";
    await askDaemon(depot, "events", { last: 2000, follow: false }, (value) => {
      const { events } = value as { events: unknown[] };
      text += events.map((event) => JSON.stringify(event) + "\n").join("");
    });
    return text;
  });
  await add("doctor.jsonl", async () => {
    const { examine } = await import("../doctor/examine.ts");
    let text = "";
    for await (const finding of examine(patient)) text += JSON.stringify(finding) + "\n";
    return text;
  });
  const logFile = typeof config === "string" ? null : config?.logFile ?? null;
  await add("log.txt", () => logFile === null ? journal() : tail(logFile));
  await add("mounts.txt", () => Deno.readTextFileSync("/proc/self/mounts"));
  await add("memory.txt", () => Deno.readTextFileSync("/proc/meminfo"));
  if (daemon !== null) {
    await add("process.txt", () => Deno.readTextFileSync(`/proc/${daemon.pid}/status`));
    await add("limits.txt", () => Deno.readTextFileSync(`/proc/${daemon.pid}/limits`));
  }
  return parts;
}

/** Whatever secret the configuration has is taken out of every text, wherever it got in. */
function redact(
  parts: ReadonlyMap<string, string>,
  config: Config | null,
): Map<string, string> {
  const secrets = config === null ? [] : secretsOf(config);
  return new Map(Array.from(parts, ([name, text]) => [
    name,
    secrets.reduce((clean, secret) => clean.replaceAll(secret, REDACTED), text),
  ]));
}

function secretsOf(config: Config): string[] {
  const fields = BACKEND_SETTINGS.filter((setting) => setting.secret).map(({ field }) => field);
  return ROLES.flatMap((role) => {
    const values = new Map<string, unknown>(Object.entries(config[role] ?? {}));
    return fields.map((field) => values.get(field))
      .filter((value): value is string => typeof value === "string")
      .filter((value) => value.length >= SHORTEST_SECRET);
  });
}

/** @throws EnvironmentError when the file cannot be written. */
function pack(parts: ReadonlyMap<string, string>, output: string, folder: string): void {
  const dir = Deno.makeTempDirSync({ prefix: "p4-cache-support-" });
  try {
    Deno.mkdirSync(join(dir, folder));
    for (const [name, text] of parts) Deno.writeTextFileSync(join(dir, folder, name), text);
    const args = ["-cz", "-C", dir, folder];
    const { success, stdout, stderr } = new Deno.Command("tar", { args }).outputSync();
    if (!success) throw new Error(new TextDecoder().decode(stderr).trim());
    // Only for whoever asked: it has names of depot files. A device or pipe keeps the mode that it has.
    const isOther = exists(output) && !Deno.statSync(output).isFile;
    Deno.writeFileSync(output, stdout, isOther ? {} : { mode: 0o600 });
  } catch (error) {
    throw new EnvironmentError(
      `Cannot write ${output}: ${reasonOf(error)}; give a writable place with --output`,
    );
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

function tail(path: string): string {
  using file = Deno.openSync(path);
  const size = file.statSync().size;
  const from = Math.max(0, size - LOG_BYTES);
  file.seekSync(from, Deno.SeekMode.Start);
  const bytes = new Uint8Array(size - from);
  const length = file.readSync(bytes) ?? 0;
  return new TextDecoder().decode(bytes.subarray(0, length));
}

function journal(): string {
  const { stdout } = new Deno.Command("journalctl", {
    args: ["--no-pager", "-u", "p4-cache*", "-n", JOURNAL_LINES],
  }).outputSync();
  return new TextDecoder().decode(stdout);
}

function json(value: unknown): string {
  return JSON.stringify(value, null, 2) + "\n";
}
