/**
 * `p4-cache access`, also under the name `p4-cache-access`: what the access log knows. Reads the
 * database itself, so a daemon may run or not.
 *
 * @module
 */

import { type Command, Option } from "commander";
import { ConfigError } from "../errors.ts";
import type { AccessFormat } from "../access/access_format.ts";
import { addQueryOptions, momentOf, type QueryOptions } from "./access_options.ts";
import type { Query } from "./access_query.ts";

const EXAMPLES = `Examples:
  p4-cache access stat
  p4-cache access count --db /mnt/nvme/depot/.p4cache/access
  p4-cache access get main/src/a.c,v
  p4-cache access prefix main/src/ --limit 20
  p4-cache access stale --before 30d --output stale.tsv
  p4-cache access export --format csv | gzip > accesses.csv.gz
  p4-cache access top --since 7d
  p4-cache access hist
`;

const NO_PREFIX = new Uint8Array(0);

/** Adds `access stat|count|get|prefix|stale|export|top|hist`. */
export function addAccessCommand(program: Command, setExitCode: (code: number) => void): void {
  const access = program.command("access")
    .description("ask the access log when files were opened last")
    .addHelpText("before", EXAMPLES);
  addQueryOptions(access);

  add(access, "stat", "show how many entries there are, and how large the database is")
    .action(query(({ log, output, options }) => {
      const { entries, usedBytes, mapBytes } = log.info();
      output.write(
        options.json
          ? JSON.stringify({ entries, used_bytes: usedBytes, map_bytes: mapBytes }) + "\n"
          : `entries: ${entries}\nused_bytes: ${usedBytes}\nmap_bytes: ${mapBytes}\n`,
      );
    }));

  add(access, "count", "print the number of entries")
    .action(query(({ log, output, options }) => {
      const { entries } = log.info();
      output.write(options.json ? `{"entries":${entries}}\n` : `${entries}\n`);
    }));

  add(access, "get", "print when a file was opened last; NOTFOUND and exit 1 without an entry")
    .argument("<path>", "relative to the depot")
    .action((path: string, _: unknown, command: Command) =>
      run(command, (query) => get(query, path, setExitCode))
    );

  add(access, "prefix", "list entries whose path begins with the prefix")
    .argument("<prefix>", "relative to the depot")
    .action((prefix: string, _: unknown, command: Command) =>
      run(command, (query) => list(query, rowFormat(query.options), bytesOf(prefix), null))
    );

  add(access, "stale", "list entries that were not opened since a moment")
    .requiredOption("--before <when>", "an age (30d, 6h, 15m) or seconds since 1970")
    .action(async ({ before }: { before: string }, command: Command) => {
      const moment = momentOf(before, "--before", nowSeconds());
      await run(command, (query) => list(query, rowFormat(query.options), NO_PREFIX, moment));
    });

  add(access, "export", "list every entry, with a header line")
    .addOption(
      new Option("--format <format>", "how the rows are written").choices(["csv", "tsv"])
        .default("csv"),
    )
    .action(({ format }: { format: "csv" | "tsv" }, command: Command) => {
      return run(command, (query) => {
        const chosen = query.options.json ? "json" : format;
        return list(query, chosen, NO_PREFIX, null, true);
      });
    });

  add(access, "top", "show the directories in which most files were opened lately")
    .argument("[prefix]", "only paths that begin with it", "")
    .option("--since <when>", "lately means since then: an age or seconds since 1970", "7d")
    .option("--depth <n>", "count deeper directories as the one at this depth")
    .action(async (prefix: string, options: Record<string, string>, command: Command) => {
      const since = momentOf(options.since!, "--since", nowSeconds());
      const depth = depthOf(options.depth);
      const { showTop } = await import("./access_pictures.ts");
      await run(command, (query) => showTop(query, bytesOf(prefix), since, depth));
    });

  add(access, "hist", "draw how long ago files were opened")
    .argument("[prefix]", "only paths that begin with it", "")
    .action(async (prefix: string, _: unknown, command: Command) => {
      const { showHistogram } = await import("./access_pictures.ts");
      await run(command, (query) => showHistogram(query, bytesOf(prefix), nowSeconds()));
    });
}

type Run = (query: Query) => Promise<void> | void;

function add(access: Command, name: string, description: string): Command {
  const examples = EXAMPLES.split("\n").filter((line) => line.includes(` access ${name}`));
  return addQueryOptions(access.command(name).description(description))
    .addHelpText("before", `Examples:\n${examples.join("\n")}\n`);
}

/** An action that needs nothing but the common options. */
function query(body: Run): (options: unknown, command: Command) => Promise<void> {
  return (_, command) => run(command, body);
}

async function run(command: Command, body: Run): Promise<void> {
  const { runQuery } = await import("./access_query.ts");
  await runQuery(command.optsWithGlobals<QueryOptions>(), body);
}

async function get(
  { log, output, options }: Query,
  path: string,
  setExitCode: (code: number) => void,
): Promise<void> {
  const { jsonPath, timeText } = await import("../access/access_format.ts");
  const name = String.fromCharCode(...bytesOf(path));
  const seconds = log.get(name);
  if (seconds === null) setExitCode(1);
  const time = seconds === null ? null : timeText(seconds);
  output.write(
    options.json
      ? JSON.stringify({ ...jsonPath(name), last_access: time }) + "\n"
      : `${time ?? "NOTFOUND"}\n`,
  );
}

/** Writes the entries below the prefix, those before the moment only. */
async function list(
  query: Query,
  format: AccessFormat,
  prefix: Uint8Array,
  beforeSeconds: number | null,
  withHeader = false,
): Promise<void> {
  const { RowWriter } = await import("../access/access_format.ts");
  const { walk } = await import("./access_query.ts");
  const { output, options: { limit = Infinity } } = query;
  const writer = new RowWriter(format, (chunk) => output.write(chunk));
  if (withHeader) writer.header();
  let rows = 0;
  if (limit > 0) {
    await walk(query, prefix, ({ path, seconds }) => {
      if (beforeSeconds !== null && seconds >= beforeSeconds) return;
      writer.row(path, seconds);
      return ++rows < limit;
    });
  }
  writer.flush();
}

function rowFormat(options: QueryOptions): AccessFormat {
  return options.json ? "json" : "tsv";
}

function depthOf(text: string | undefined): number {
  if (text === undefined) return Infinity;
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
  throw new ConfigError(`Cannot use --depth '${text}': allowed is a whole number from 1 to 9999`);
}

function bytesOf(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function nowSeconds(): number {
  return Math.floor(Date.now() / 1000);
}
