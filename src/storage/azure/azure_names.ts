/**
 * Blob names: how a depot path is spelt in a container.
 *
 * A name is the prefix, a slash and the depot path, unchanged, so that the container is readable
 * without us. What Azure does not keep as it is ("Naming and referencing containers, blobs, and
 * metadata": bytes that are not UTF-8, control characters, private-use characters, backslashes,
 * segments that end with a dot) goes to `<prefix>/.p4cache/names/<path>`, with such characters and
 * `%` written as `%XX`. No depot path begins with `.p4cache/`, so the two never meet and each name
 * leads back to one path.
 *
 * @module
 */

import { type DepotPath, pathProblem, pathToBytes } from "../../depot_path.ts";
import { ESCAPED_DIR, escapePath } from "../object_keys.ts";

/** Longest name, characters. */
export const MAX_NAME_CHARACTERS = 1024;

const PLAIN_ASCII = /^[\x20-\x5b\x5d-\x7e]*$/;
const DOT_AT_END = /\.(?=\/|$)/;
// U+0080–9F are controls, U+E000–F8FF private, U+FDD0–FDEF, U+FFFE and U+FFFF no characters.
// deno-lint-ignore no-control-regex
const REFUSED = /[\x00-\x1f\\\x7f-\x9f\ue000-\uf8ff\ufdd0-\ufdef\ufffe\uffff]/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether the path can be a blob's name as it is. */
export function isPlainName(path: string): boolean {
  return isPlainStart(path) && !DOT_AT_END.test(path);
}

/** Whether names that are kept as they are can start so. */
export function isPlainStart(start: string): boolean {
  if (PLAIN_ASCII.test(start)) return true;
  try {
    return !REFUSED.test(decoder.decode(pathToBytes(start)));
  } catch {
    return false;
  }
}

/** The path with everything that Azure may not keep written as `%XX`. */
export function escapeName(path: string): string {
  return escapePath(path).replaceAll("\\", "%5C").replace(/\.(?=\/|$)/g, "%2E");
}

/** A start of what {@link escapeName} makes of every path that starts so. */
export function escapeStart(start: string): string {
  // Whether dots at the end are written as they are depends on what follows.
  return escapeName(start.replace(/\.+$/, ""));
}

/** The name of a path's blob, one character per byte. @param prefix Without slashes at its ends, or "". */
export function nameOfPath(prefix: string, path: string): string {
  const under = prefix === "" ? "" : prefix + "/";
  return under + (isPlainName(path) ? path : ESCAPED_DIR + escapeName(path));
}

/** The depot path of a name (one character per byte); null when the name is not one of ours. */
export function pathOfName(prefix: string, name: string): DepotPath | null {
  const under = prefix === "" ? "" : prefix + "/";
  if (!name.startsWith(under)) return null;
  const rest = name.slice(under.length);
  if (!rest.startsWith(ESCAPED_DIR)) {
    return isPlainName(rest) && pathProblem(rest) === null ? rest as DepotPath : null;
  }
  const escaped = rest.slice(ESCAPED_DIR.length);
  const path = escaped.replace(
    /%([0-9A-F]{2})/g,
    (_, digits) => String.fromCharCode(parseInt(digits, 16)),
  );
  const ours = escapeName(path) === escaped && !isPlainName(path) && pathProblem(path) === null;
  return ours ? path as DepotPath : null;
}
