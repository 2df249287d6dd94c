/**
 * Object keys: how a depot path is spelt in a bucket and in a URL.
 *
 * A key is the prefix, a slash and the depot path, unchanged, so that the bucket is readable without
 * us (P7). S3 keys are UTF-8, and control characters do not survive the XML of listings (S3 user guide,
 * "Naming Amazon S3 objects"); a path that is not UTF-8 or has control characters goes to
 * `<prefix>/.p4cache/names/<path>` with `%` and every byte that is not printable ASCII written as
 * `%XX`. No depot path begins with `.p4cache/`, so the two never meet and each key leads back to one
 * path.
 *
 * @module
 */

import {
  type DepotPath,
  pathFromBytes,
  pathProblem,
  pathToBytes,
  STATE_DIR,
} from "../depot_path.ts";
import { StorageError } from "./backend.ts";

/** Longest key of S3 and Google Cloud Storage, bytes. */
const MAX_KEY_BYTES = 1024;

/**
 * Where our own objects are kept, below the prefix: no depot file's key begins so, and no listing of depot
 * files has them.
 */
export const RESERVED_KEYS = `${STATE_DIR}/`;

/** Where the escaped paths are kept, below the prefix. */
export const ESCAPED_DIR = `${RESERVED_KEYS}names/`;

const PLAIN = /^[\x20-\x7e]*$/;
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether the path can be a key as it is. */
export function isPlainKey(path: string): boolean {
  if (PLAIN.test(path)) return true;
  // deno-lint-ignore no-control-regex
  if (/[\x00-\x1f\x7f]/.test(path)) return false;
  try {
    decoder.decode(pathToBytes(path));
    return true;
  } catch {
    return false;
  }
}

/** `%XX` for `%` and for every byte that is not printable ASCII. */
export function escapePath(path: string): string {
  // deno-lint-ignore no-control-regex
  return path.replace(/[\x00-\x1f%\x7f-\xff]/g, percent);
}

/** The path that {@link escapePath} was given; null when it never gives this text. */
export function unescapePath(text: string): string | null {
  const path = text.replace(
    /%([0-9A-F]{2})/g,
    (_, digits) => String.fromCharCode(parseInt(digits, 16)),
  );
  return escapePath(path) === text ? path : null;
}

/** The key of a path, one character per byte. @param prefix Without slashes at its ends, or "". */
export function keyOfPath(prefix: string, path: string): string {
  const under = prefix === "" ? "" : prefix + "/";
  return under + (isPlainKey(path) ? path : ESCAPED_DIR + escapePath(path));
}

/**
 * {@link keyOfPath}, where the service keeps such a key.
 * @param doing For the error's text, as the service's name: `store a/b in s3://bucket`.
 * @throws StorageError permanent, for a key that is too long
 */
export function storableKey(prefix: string, path: string, service: string, doing: string): string {
  const key = keyOfPath(prefix, path);
  if (key.length <= MAX_KEY_BYTES) return key;
  throw new StorageError(
    "permanent",
    `Cannot ${doing}: its key has ${key.length} bytes; ${service} allows ${MAX_KEY_BYTES}`,
  );
}

/** The depot path of a key (one character per byte); null when the key is not one of ours. */
export function pathOfKey(prefix: string, key: string): DepotPath | null {
  const under = prefix === "" ? "" : prefix + "/";
  if (!key.startsWith(under)) return null;
  const rest = key.slice(under.length);
  if (!rest.startsWith(ESCAPED_DIR)) return pathProblem(rest) === null ? rest as DepotPath : null;
  const path = unescapePath(rest.slice(ESCAPED_DIR.length));
  if (path === null || pathProblem(path) !== null || isPlainKey(path)) return null;
  return path as DepotPath;
}

/** The key's one-character-per-byte form from text in UTF-8. */
export function keyFromText(text: string): string {
  return PLAIN.test(text) ? text : pathFromBytes(new TextEncoder().encode(text));
}

/**
 * URI-encodes bytes (one character each) as SigV4 wants them ("Create a signed AWS API request"):
 * all but the unreserved characters; a slash is kept when `keepSlash`.
 */
export function uriEncode(bytes: string, keepSlash: boolean): string {
  if (/^[A-Za-z0-9._~-]*$/.test(bytes)) return bytes;
  return bytes.replace(
    keepSlash ? /[^A-Za-z0-9._~/-]/g : /[^A-Za-z0-9._~-]/g,
    percent,
  );
}

function percent(character: string): string {
  return "%" + character.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0");
}
