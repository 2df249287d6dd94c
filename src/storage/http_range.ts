/**
 * Which bytes of an object an HTTP answer holds, checked against what was asked for.
 *
 * @module
 */

import { StorageError } from "./backend.ts";
import type { HttpAnswer } from "./http_exchange.ts";

/** The error of an object that is not the version that was asked for. */
export function changed(doing: string): StorageError {
  return new StorageError("corrupt", `Cannot ${doing}: it changed while it was read`);
}

/** The header that asks for a range. */
export function rangeHeader(offset: number, length: number): [string, string] {
  return ["range", `bytes=${offset}-${offset + length - 1}`];
}

/**
 * Size of the whole object, and how many of its bytes the answer holds.
 * @throws StorageError when these are not the bytes that were asked for
 */
export function rangeOf(
  answer: HttpAnswer,
  offset: number,
  length: number,
  doing: string,
): { size: number; count: number } {
  const sent = answer.number("content-length");
  if (answer.status === 200) {
    if (sent === null) throw new StorageError("corrupt", `Cannot ${doing}: no Content-Length`);
    if (offset === 0 && sent <= length) return { size: sent, count: sent };
    throw new StorageError("permanent", `Cannot ${doing}: the server does not honour Range`);
  }
  const range = answer.headers.get("content-range") ?? "";
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(range);
  const [first, last, size] = (match?.slice(1) ?? []).map(Number);
  const count = Math.min(length, (size ?? 0) - offset);
  if (
    size !== undefined && first === offset && last === offset + count - 1 &&
    (sent === null || sent === count)
  ) {
    return { size, count };
  }
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: asked for ${length} bytes at ${offset}, was answered HTTP ${answer.status} ` +
      `with Content-Range "${range}" and ${sent ?? "unknown"} bytes`,
  );
}
