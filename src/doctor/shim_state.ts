/**
 * What proc(5) tells of a running process under the preload library.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";
import { displayPath, pathFromBytes } from "../depot_path.ts";

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

/** Looks at the process. @throws EnvironmentError when there is no such process, or it may not be looked at. */
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

function problem(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is none";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "permission denied; run it as the process's user or as root";
  }
  return reasonOf(error);
}
