/**
 * The contract every storage backend keeps. The engine knows nothing else about storage.
 *
 * 1. Objects hold a depot file's plain bytes; what we add is metadata only (promise P7).
 * 2. Every operation throws only {@link StorageError}. `absent` is thrown only when the provider
 *    said that this object does not exist; a missing bucket, a refused request or an unreachable
 *    server is never `absent` (promise P3).
 * 3. `put` returns only after the provider has acknowledged the whole object as durable and what it
 *    reports (checksum, ETag, size) agrees with what was sent; otherwise it throws and leaves no
 *    half object visible and no orphan part behind (parts are aborted).
 * 4. `getRange` never returns fewer bytes than asked for unless the object ends there, and never
 *    bytes of another version when `ifMatch` is given (`corrupt` is thrown instead). With `into` they may
 *    be in that file instead; when it cannot be written, `permanent` is thrown with that error as its cause.
 * 5. Memory is bounded: no call holds more than a few parts, whatever the object's size (P5).
 * 6. Backends do not retry, log or count; decorators do (`retrying.ts`, `measured.ts`).
 *    Exception: single parts of a multi-part put are retried inside, since only the backend has them.
 * 7. A put with a condition takes place only where the condition holds, else it throws `conflict` and
 *    leaves what is there. Where a provider cannot look and store in one step, its backend says so.
 * 8. An operation whose signal is aborted throws `transient`; look at the signal to tell. A put whose
 *    `Content.read` throws ends with `permanent` and that error as its cause.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import type { FileBody, FileSink, Written } from "./file_transfer.ts";
import type { PartBudget } from "./part_budget.ts";

/** Bytes of one slice: the unit of content hashing, of ranged restores and of upload parts. */
export const SLICE_BYTES = 8 * 1024 * 1024;

/** What one object is; fields are null where the object carries no such metadata. */
export interface ObjectInfo {
  /** Size of the whole object, bytes. */
  readonly size: number;
  /** The provider's version tag, verbatim; empty when it has none. */
  readonly etag: string;
  /** Modification time of the file that was uploaded, ns since the epoch. */
  readonly mtimeNs: bigint | null;
  /** Permission bits of the file that was uploaded (0o7777 mask). */
  readonly mode: number | null;
  /** Digest of the content as `content_digest.ts` writes it. */
  readonly digest: string | null;
  /** MD5 of the whole content, base64, where the object has no digest and the provider knows it. */
  readonly md5?: string;
  /** When this version was stored, by the provider's clock, ms since the epoch; missing: not known. */
  readonly storedMs?: number;
}

/** Some bytes of an object, with what the object is. */
export interface ObjectPart {
  readonly info: ObjectInfo;
  /** Empty where they went into a file. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** What went into the file that was given for it. */
  readonly written?: Written;
}

/** How many bytes came. */
export function receivedBytes({ bytes, written }: ObjectPart): number {
  return written?.length ?? bytes.length;
}

/** What a range is read under. */
export interface RangeOptions {
  /** Only this version. */
  readonly ifMatch?: string;
  /** Where the bytes may go instead of memory: not every backend, or way to it, can do so. */
  readonly into?: FileSink;
  readonly signal: AbortSignal;
}

/** The bytes to upload: a stable, already hashed version of one file. */
export interface Content {
  /** Bytes in all. */
  readonly size: number;
  /** Content digest as `content_digest.ts` writes it. */
  readonly digest: string;
  /** SHA-256 of each slice of {@link SLICE_BYTES}, in order; one entry for an empty file. */
  readonly sliceDigests: readonly Uint8Array[];
  readonly mtimeNs: bigint;
  readonly mode: number;
  /**
   * Reads `length` bytes at `offset`; never short.
   * @throws Error when the file changed or cannot be read.
   */
  read(offset: number, length: number): Promise<Uint8Array<ArrayBuffer>> | Uint8Array<ArrayBuffer>;
  /** The same bytes as the body of a request, where they need not come to memory first. */
  body?(offset: number, length: number): Promise<FileBody> | FileBody;
}

/** What must be at the path for a put to take place; exactly one is given. */
export type PutCondition =
  /** The object that has this version tag. */
  | { readonly ifMatch: string; readonly ifAbsent?: undefined }
  /** No object. */
  | { readonly ifAbsent: true; readonly ifMatch?: undefined };

/** Another place of the same provider, as `server_copy.ts` finds it, and the object that is copied. */
export interface CopySource {
  readonly bucket: string;
  /** Without slashes at its ends, or "". */
  readonly prefix: string;
  /** The object there; only this version is copied. */
  readonly info: ObjectInfo;
}

/** One entry of a listing. */
export interface ListedObject {
  readonly path: DepotPath;
  readonly size: number;
  readonly etag: string;
}

/** A place that keeps objects named by depot paths. */
export interface Backend {
  /** For people: `s3://bucket/prefix`, `nfs:/mnt/archive`. */
  readonly label: string;
  /** What parts of files it may hold in memory; absent where it holds none. */
  readonly memory?: PartBudget | undefined;
  /**
   * Stores the content under the path, replacing what is there. Returns the new version's tag.
   * @param condition Without it, whatever is there is replaced.
   */
  put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }>;
  /**
   * Copies the object with its metadata to another path, replacing what is there, without the bytes
   * passing through this process. Returns the copy's tag.
   * @param source Where `from` is, when not here; only given where `server_copy.ts` allows it.
   */
  copy(
    from: DepotPath,
    to: DepotPath,
    signal: AbortSignal,
    source?: CopySource,
  ): Promise<{ etag: string }>;
  /**
   * Reads up to `length` bytes at `offset`; an offset at or past the end gives no bytes.
   * `info` describes the whole object.
   */
  getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): Promise<ObjectPart>;
  /**
   * Null while the object still has the tag `etag`; else what it is now, and its first `length`
   * bytes.
   */
  getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart | null>;
  /** Describes the object. */
  head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo>;
  /** Removes the object; removing an absent one succeeds. */
  delete(path: DepotPath, signal: AbortSignal): Promise<void>;
  /**
   * Lists the objects whose path starts with `prefix`, in byte order, page by page.
   * @param after Only paths after this one, to go on with a listing that failed midway.
   */
  list(prefix: string, signal: AbortSignal, after?: string): AsyncIterable<ListedObject>;
  /** Frees connections. No operation is running. */
  close(): Promise<void>;
}

/** How an operation failed; see each kind's meaning for what the caller does. */
export type StorageErrorKind =
  /** The object does not exist. */
  | "absent"
  /** Credentials, permissions, a missing bucket: retried slowly, reported loudly. */
  | "denied"
  /** The provider asks to slow down. */
  | "throttled"
  /** Network, timeout, 5xx: retried with backoff. */
  | "transient"
  /** The request can never succeed as it is. */
  | "permanent"
  /** Content does not agree with its checksum or size. */
  | "corrupt"
  /** The condition of a put does not hold: somebody else's object is there, or the one meant is not. */
  | "conflict"
  /** This daemon may not write at the moment: another one does, or may. Waits for the lease. */
  | "fenced";

/** The only error that leaves a backend. */
export class StorageError extends Error {
  override readonly name = "StorageError";
  constructor(
    readonly kind: StorageErrorKind,
    message: string,
    readonly options: { cause?: unknown; retryAfterMs?: number } = {},
  ) {
    const traced = Error.stackTraceLimit;
    // An answer and no fault: whoever misses a file waits for it, and a trace takes 10 µs.
    if (kind === "absent") Error.stackTraceLimit = 0;
    super(message, { cause: options.cause });
    Error.stackTraceLimit = traced;
  }
}

/** What the call gives, or null where the object does not exist. @throws StorageError of any other kind */
export async function nullIfAbsent<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (error) {
    if (error instanceof StorageError && error.kind === "absent") return null;
    throw error;
  }
}
