/**
 * Fetches whole objects and verifies them (P2): large ones in slices, several at once, into a file without
 * a name, so that memory does not grow with their size (P5).
 *
 * @module
 */

import { FileError } from "../../ffi/file_error.ts";
import type { DepotFiles } from "../../ffi/files.ts";
import {
  type Backend,
  type ObjectInfo,
  receivedBytes,
  SLICE_BYTES,
  StorageError,
} from "../storage/backend.ts";
import { contentDigest, sliceCount, sliceDigest } from "../storage/content_digest.ts";
import { PartBudget } from "../storage/part_budget.ts";
import {
  type FileRange,
  type FileSink,
  sinkInto,
  type SliceWork,
} from "../storage/file_transfer.ts";
import { type DepotPath, displayPath, STATE_DIR } from "../depot_path.ts";
import { Semaphore } from "./semaphore.ts";

/** Bytes asked for with the first request: enough for most files, little enough to have many. */
export const FIRST_BYTES = 1024 * 1024;

/** Slices of large files in memory at once, over all fetches. */
const SLICES_AT_ONCE = 8;

/** First requests in flight for each restore thread that is configured. */
const REQUESTS_PER_THREAD = 4;

/** Where nameless files of fetches in progress live. */
export const RESTORE_DIR = `${STATE_DIR}/restore`;

/** Bytes at hand, or the nameless file that holds them: to be placed, and then closed. */
export type FetchedContent = Uint8Array<ArrayBuffer> | { readonly fd: number };

/** A whole object as it arrived, verified. */
export interface Fetched {
  readonly info: ObjectInfo;
  readonly digest: string;
  readonly content: FetchedContent;
}

/** What the first request of an object gave. */
export interface FirstAnswer {
  readonly info: ObjectInfo;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** See the module. */
export class ObjectFetcher {
  readonly #files: DepotFiles;
  readonly #threads: () => number;
  readonly #work: SliceWork;
  readonly #requests: Semaphore;
  /** Of large files. */
  readonly memory = new PartBudget(SLICES_AT_ONCE * SLICE_BYTES);
  readonly #abort = new AbortController();

  /** @param threads Configured restore threads, as they are now. */
  constructor(files: DepotFiles, threads: () => number, work: SliceWork) {
    this.#files = files;
    this.#work = work;
    this.#threads = threads;
    this.#requests = new Semaphore(threads() * REQUESTS_PER_THREAD);
  }

  /** Aborted when fetches are given up. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** First requests waiting or in flight. */
  get pending(): number {
    return this.#requests.pending;
  }

  /** Takes the limit as it is now; nothing under way is dropped. */
  adjust(): void {
    this.#requests.resize(this.#threads() * REQUESTS_PER_THREAD);
  }

  /** Gives up what is in flight. */
  abort(): void {
    this.#abort.abort();
  }

  /** @throws StorageError, or FileError where it cannot be written to the disk. */
  fetch(path: DepotPath, backend: Backend): Promise<Fetched> {
    const { signal } = this.#abort;
    return this.fetchFrom(path, backend, () => backend.getRange(path, 0, FIRST_BYTES, { signal }));
  }

  /**
   * The same with a first request of the caller's, which gives up to {@link FIRST_BYTES} bytes.
   * @returns null when that gives null.
   */
  async fetchFrom<Answer extends FirstAnswer | null>(
    path: DepotPath,
    backend: Backend,
    request: () => Promise<Answer>,
  ): Promise<Fetched | (Answer & null)> {
    const answer = await this.#requests.run(request);
    if (answer === null) return answer as Answer & null;
    const { info, bytes } = answer;
    if (info.size > bytes.length) return await this.#fetchLarge(path, backend, info, bytes);
    const digest = contentDigest([sliceDigest(bytes)]);
    verify(path, backend, info, digest);
    return { info, digest, content: bytes };
  }

  async #fetchLarge(
    path: DepotPath,
    backend: Backend,
    info: ObjectInfo,
    first: Uint8Array<ArrayBuffer>,
  ): Promise<Fetched> {
    const files = this.#files;
    const fd = files.createNameless(RESTORE_DIR);
    try {
      await files.setAside(fd, path, info.size);
      const digests = new Array<Uint8Array>(sliceCount(info.size));
      const failed = new AbortController();
      const signal = AbortSignal.any([this.#abort.signal, failed.signal]);
      const fetchSlice = async (i: number) => {
        const share = await this.memory.take(SLICE_BYTES);
        try {
          if (!failed.signal.aborted) await fetchInto(i);
        } finally {
          this.memory.give(share);
        }
      };
      const fetchInto = async (i: number) => {
        const begin = i * SLICE_BYTES;
        const length = Math.min(SLICE_BYTES, info.size - begin);
        const head = i === 0 ? first : new Uint8Array(0);
        // A thread that takes the rest of the slice hashes these first.
        if (head.length > 0) await files.write(fd, path, head, begin);
        const rest = { fd, offset: begin + head.length, length: length - head.length };
        const part = await backend.getRange(path, rest.offset, rest.length, {
          signal,
          ...(info.etag === "" ? {} : { ifMatch: info.etag }),
          ...this.#into(rest, begin),
        }).catch((error) => {
          throw fileErrorOf(error, path);
        });
        if (receivedBytes(part) !== rest.length) {
          throw new StorageError(
            "corrupt",
            `${backend.label} gave ${
              receivedBytes(part)
            } bytes of ${rest.length} at ${rest.offset}`,
          );
        }
        if (part.written !== undefined) {
          digests[i] = part.written.digest;
          return;
        }
        const slice = head.length === 0 ? part.bytes : joined(head, part.bytes);
        const hashed = await this.#work.digest(slice);
        digests[i] = hashed.digest;
        await files.write(fd, path, hashed.bytes, begin);
      };
      const slices = Array.from(digests, (_, i) => fetchSlice(i));
      for (const slice of slices) slice.catch((error) => failed.abort(error));
      try {
        await Promise.all(slices);
      } catch (error) {
        await Promise.allSettled(slices);
        throw failed.signal.reason ?? error;
      }
      const digest = contentDigest(digests);
      verify(path, backend, info, digest);
      return { info, digest, content: { fd } };
    } catch (error) {
      files.closeFile(fd);
      throw error;
    }
  }

  /** Where the bytes may go without passing through here. */
  #into(rest: FileRange, digestFrom: number): { readonly into?: FileSink } {
    const { files } = this.#work;
    return files === null ? {} : { into: sinkInto(files, { ...rest, digestFrom }) };
  }
}

/** The disk's error, where that is what failed: room can be made. */
function fileErrorOf(error: unknown, path: DepotPath): unknown {
  const cause = error instanceof StorageError ? error.cause : null;
  return cause instanceof FileError ? new FileError(cause.errno, "write", path) : error;
}

function verify(path: string, backend: Backend, info: ObjectInfo, digest: string): void {
  if (info.digest === null || info.digest === digest) return;
  throw new StorageError(
    "corrupt",
    `${backend.label} holds other content for ${displayPath(path)} than was uploaded: ` +
      `expected ${info.digest}, got ${digest}`,
  );
}

function joined(a: Uint8Array, b: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(a.length + b.length);
  whole.set(a);
  whole.set(b, a.length);
  return whole;
}
