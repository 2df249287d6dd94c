/**
 * Depot paths: the one in-memory form of a file's name below the depot, and the only gate that
 * lets a name in from outside (promise P6).
 *
 * A depot path is bytes on disk. In memory it is a JavaScript string with one character (0–255)
 * for each byte, so that names that are not valid UTF-8 survive unchanged. It is relative to the
 * depot directory, without leading slash, without empty, `.` or `..` components.
 *
 * @module
 */

/** A path relative to the depot, one character per byte. */
export type DepotPath = string & { readonly __depotPath: unique symbol };

/** Longest depot path, bytes: an LMDB key of the manifest less the 8-byte time before it. */
export const MAX_PATH_BYTES = 1960;

/** Longest name of one directory entry, bytes (NAME_MAX, limits.h). */
const MAX_NAME_BYTES = 255;

/** Name of the state directory inside the depot; nothing below it is ever served or cached. */
export const STATE_DIR = ".p4cache";

const CHUNK = 4096;

/** Decodes the bytes of a name into the one-character-per-byte form. */
export function pathFromBytes(bytes: Uint8Array): DepotPath {
  let text = "";
  for (let at = 0; at < bytes.length; at += CHUNK) {
    text += String.fromCharCode.apply(null, bytes.subarray(at, at + CHUNK) as unknown as number[]);
  }
  return text as DepotPath;
}

/** The form of a path on this machine as Deno writes it: for the bindings, which take bytes. */
export function pathFromText(text: string): string {
  return pathFromBytes(new TextEncoder().encode(text));
}

/** Encodes a depot path into its bytes. */
export function pathToBytes(path: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(path.length);
  writePath(path, bytes, 0);
  return bytes;
}

/** Writes a depot path's bytes into `target` at `offset`; returns the offset after them. */
function writePath(path: string, target: Uint8Array, offset: number): number {
  for (let i = 0; i < path.length; i++) target[offset + i] = path.charCodeAt(i);
  return offset + path.length;
}

/** The directory that the path is in; "" is the depot. */
export function directoryOf(path: string): DepotPath {
  return path.slice(0, Math.max(0, path.lastIndexOf("/"))) as DepotPath;
}

const ASCII = /^[\x20-\x7e]*$/;
const UTF8 = new TextDecoder("utf-8", { fatal: true });

/** A depot path for people: as UTF-8 where it is valid, else with the odd bytes as `\xNN`. */
export function displayPath(path: string): string {
  // Most are, and each request says what it is about.
  if (ASCII.test(path)) return path;
  try {
    return UTF8.decode(pathToBytes(path));
  } catch {
    return path.replace(
      // deno-lint-ignore no-control-regex
      /[\x00-\x1f\x7f-\xff]/g,
      (c) => "\\x" + c.charCodeAt(0).toString(16).padStart(2, "0"),
    );
  }
}

/**
 * Says why `path` (one character per byte) cannot name a depot file, or `null` when it can.
 * Every name that comes from outside passes here before it is used.
 */
export function pathProblem(path: string): string | null {
  if (path.length === 0) return "empty path";
  if (path.length > MAX_PATH_BYTES) return `path longer than ${MAX_PATH_BYTES} bytes`;
  if (path.charCodeAt(0) === 0x2f) return "absolute path";
  if (path.includes("\0") || path.includes("\n")) return "path with a NUL or newline";
  for (const name of path.split("/")) {
    if (name === "") return "path with an empty component";
    if (name === "." || name === "..") return "path with a . or .. component";
    if (name.length > MAX_NAME_BYTES) return `component longer than ${MAX_NAME_BYTES} bytes`;
  }
  if (path === STATE_DIR || path.startsWith(STATE_DIR + "/")) return "path in the state directory";
  return null;
}
