/**
 * `p4-cache shim check PID`: whether a running process has the preload library, which one, and for
 * which depot. Looks only at what proc(5) tells.
 *
 * @module
 */

import type { Command } from "commander";
import { ConfigError, EnvironmentError, reasonOf } from "../errors.ts";
import { displayPath, pathFromBytes } from "../depot_path.ts";
import type { Terminal } from "./terminal.ts";

/** What is found out about a process. Texts are for people. */
export interface ShimState {
  readonly pid: number;
  /** The library's file; null: the process has no shim. */
  readonly library: string | null;
  /** Null: not known, as of a shim of the C++ implementation. */
  readonly version: string | null;
  /** The file at that place is another one by now: the process has the one from before. */
  readonly replaced: boolean;
  /** Null: not set, so that the library does nothing. */
  readonly depot: string | null;
  /** The other variables for the library. */
  readonly variables: Readonly<Record<string, string>>;
}

/** What `shim/preload/version.c` puts into the library. */
const VERSION_MARK = "p4-cache shim version ";

/** Larger files are not ours. */
const LARGEST_LIBRARY_BYTES = 4 * 1024 * 1024;

/** Adds `shim check <pid> [--json]`; exit code 0 only with a shim and a depot. */
export function addShimCheck(
  shim: Command,
  terminal: Terminal,
  setExitCode: (code: number) => void,
): void {
  shim.command("check")
    .argument("<pid>", "process id")
    .description("tell whether a process runs under the shim; exit 1 if it does not")
    .option("--json", "as JSON")
    .addHelpText("before", "Examples:\n  p4-cache shim check $(pidof p4d)\n")
    .action((pid: string, options: { json?: boolean }) => {
      if (!/^[1-9]\d{0,9}$/.test(pid)) {
        throw new ConfigError(`Cannot check '${pid}': allowed is a process id`);
      }
      const state = shimState(Number(pid));
      terminal.out(options.json ? JSON.stringify(state) + "\n" : describe(state));
      setExitCode(state.library !== null && state.depot !== null ? 0 : 1);
    });
}

/** @throws EnvironmentError when there is no such process, or it may not be looked at. */
export function shimState(pid: number): ShimState {
  const proc = `/proc/${pid}`;
  let maps: string, environ: string;
  try {
    maps = pathFromBytes(Deno.readFileSync(`${proc}/maps`));
    environ = pathFromBytes(Deno.readFileSync(`${proc}/environ`));
  } catch (error) {
    throw new EnvironmentError(`Cannot look at process ${pid}: ${problem(error)}`);
  }
  const variables = Object.fromEntries(
    environ.split("\0").map((text) => splitAt(text, "=")).filter(([name]) =>
      name.startsWith("P4CACHE_")
    ).map(([name, value]) => [name, displayPath(value)]),
  );
  const depot = variables.P4CACHE_DEPOT ?? null;
  for (const { file, range } of librariesOf(maps)) {
    const bytes = contentOf(proc, range, file);
    const version = bytes === null ? null : versionIn(bytes);
    if (version === null && !/(^|\/)libp4shim[^/]*$/.test(file.replace(DELETED, ""))) continue;
    const library = displayPath(file.replace(DELETED, ""));
    return { pid, library, version, replaced: DELETED.test(file), depot, variables };
  }
  return { pid, library: null, version: null, replaced: false, depot, variables };
}

/** What proc(5) puts behind the name of a file that is no longer there. */
const DELETED = / \(deleted\)$/;

/** Executable mappings of files, one for each file. */
function librariesOf(maps: string): { file: string; range: string }[] {
  const found = new Map<string, { file: string; range: string }>();
  for (const line of maps.split("\n")) {
    const parts = /^([0-9a-f]+-[0-9a-f]+) ..x. \S+ \S+ \d+ +(\/.*)$/.exec(line);
    if (parts === null) continue;
    const file = parts[2]!.replace(/\\012/g, "\n");
    if (!found.has(file)) found.set(file, { file, range: parts[1]! });
  }
  return [...found.values()];
}

/** The bytes of a mapped file, as the process has it where we may see that; null: cannot be read. */
function contentOf(proc: string, range: string, file: string): Uint8Array | null {
  const plain = range.split("-").map((end) => end.replace(/^0+(?=.)/, "")).join("-");
  for (const path of [`${proc}/map_files/${plain}`, `${proc}/root${file}`]) {
    try {
      if (Deno.statSync(path).size > LARGEST_LIBRARY_BYTES) return null;
      return Deno.readFileSync(path);
    } catch {
      continue; // needs CAP_CHECKPOINT_RESTORE; or is gone
    }
  }
  return null;
}

function versionIn(library: Uint8Array): string | null {
  const text = pathFromBytes(library);
  const at = text.indexOf(VERSION_MARK);
  if (at < 0) return null;
  const begin = at + VERSION_MARK.length;
  return text.slice(begin, text.indexOf("\0", begin));
}

function splitAt(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + 1)];
}

function describe({ library, version, replaced, depot, variables }: ShimState): string {
  const lines = [`shim: ${library ?? "none"}${replaced ? " (replaced since)" : ""}`];
  if (library !== null) lines.push(`version: ${version ?? "unknown"}`);
  lines.push(`depot: ${depot ?? "none: P4CACHE_DEPOT is not set"}`);
  for (const [name, value] of Object.entries(variables)) {
    if (name !== "P4CACHE_DEPOT") lines.push(`${name}: ${value}`);
  }
  return lines.join("\n") + "\n";
}

function problem(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is none";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "permission denied; run it as the process's user or as root";
  }
  return reasonOf(error);
}
