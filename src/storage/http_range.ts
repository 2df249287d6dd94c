/**
 * The bytes of an object in an HTTP answer, checked against what was asked for.
 *
 * @module
 */

import { type ObjectInfo, type ObjectPart, StorageError } from "./backend.ts";
import type { HttpAnswer } from "./http_exchange.ts";

/** The error of an object that is not the version that was asked for. */
export function changed(doing: string): StorageError {
  return new StorageError("corrupt", `Cannot ${doing}: it changed while it was read`);
}

/**
 * The part, where it is of the version that was asked for: some servers do not know the condition, and
 * answer with what they have.
 * @param ifMatch The version's tag; missing: any.
 * @throws StorageError corrupt
 */
export function partOfVersion(
  part: ObjectPart | null,
  ifMatch: string | undefined,
  doing: string,
): ObjectPart {
  if (part !== null && (ifMatch === undefined || part.info.etag === ifMatch)) return part;
  throw changed(doing);
}

/** The part, where it is of another version than that; else null: not every server looks. */
export function partUnless(etag: string, part: ObjectPart | null): ObjectPart | null {
  return part === null || part.info.etag === etag ? null : part;
}

/** The header that asks for a range. */
export function rangeHeader(offset: number, length: number): [string, string] {
  return ["range", `bytes=${offset}-${offset + length - 1}`];
}

/** Size of the object that the answer to a HEAD is about. @throws StorageError corrupt */
export function sizeOf(answer: HttpAnswer, doing: string): number {
  const size = answer.number("content-length");
  if (size === null) throw new StorageError("corrupt", `Cannot ${doing}: no Content-Length`);
  return size;
}

/** What was asked for, and how the object is described. */
export interface RangeRequest {
  /** First byte. */
  readonly offset: number;
  /** Bytes at most; at least 1. */
  readonly length: number;
  /** For the error's text: `read a/b in s3://bucket`. */
  readonly doing: string;
  /** What the headers say of an object of that size, bytes; throws for what is no object. */
  readonly infoOf: (answer: HttpAnswer, size: number, doing: string) => ObjectInfo;
  /** Describes the object by a request of its own. */
  readonly head: () => Promise<ObjectInfo>;
}

/**
 * The part of an object that the answer holds; null when it says that the object did not change.
 * @throws StorageError when these are not the bytes that were asked for
 */
export async function partOf(
  answer: HttpAnswer,
  request: RangeRequest,
): Promise<ObjectPart | null> {
  const { offset, length, doing, infoOf, head } = request;
  if (answer.status === 304) {
    await answer.cancel();
    return null;
  }
  if (answer.status === 416) {
    await answer.cancel();
    const info = await head();
    if (info.size <= offset) return { info, bytes: new Uint8Array(0) };
    throw new StorageError("corrupt", `Cannot ${doing}: the range was refused below its size`);
  }
  let info: ObjectInfo, count: number;
  try {
    // What is no object at all is told first.
    const described = infoOf(answer, 0, doing);
    const range = rangeOf(answer, offset, length, doing);
    info = { ...described, size: range.size };
    count = range.count;
  } catch (error) {
    await answer.cancel();
    throw error;
  }
  const { written } = answer;
  if (written === null) return { info, bytes: await answer.bytes(count) };
  if (written.length === count) return { info, bytes: new Uint8Array(0), written };
  throw new StorageError("corrupt", `Cannot ${doing}: ${written.length} bytes came of ${count}`);
}

/** Size of the whole object, and how many of its bytes the answer holds. */
function rangeOf(
  answer: HttpAnswer,
  offset: number,
  length: number,
  doing: string,
): { size: number; count: number } {
  if (answer.status === 200) {
    const sent = sizeOf(answer, doing);
    if (offset === 0 && sent <= length) return { size: sent, count: sent };
    throw new StorageError("permanent", `Cannot ${doing}: the server does not honour Range`);
  }
  const sent = answer.number("content-length");
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
