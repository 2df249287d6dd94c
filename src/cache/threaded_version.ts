/**
 * One version of an open file, hashed and sent by threads that read it themselves.
 *
 * @module
 */

import { FileError } from "../../ffi/file_error.ts";
import { SLICE_BYTES } from "../storage/backend.ts";
import { sliceCount } from "../storage/content_digest.ts";
import {
  CopyFailed,
  type FileBody,
  FileFailed,
  type FileTransfers,
  OtherVersion,
  type VersionRange,
} from "../storage/file_transfer.ts";

/** Slices of one file that are hashed at once. Others' slices must not wait for many. */
const HASHED_AT_ONCE = 4;

/** See the module. */
export class ThreadedVersion {
  readonly #transfers: FileTransfers;
  readonly #version: Pick<VersionRange, "fd" | "size" | "mtimeNs">;
  readonly #path: string;
  readonly #changed: () => Error;

  /** @param changed Makes the error that says that the file is not that version any more. */
  constructor(
    transfers: FileTransfers,
    version: Pick<VersionRange, "fd" | "size" | "mtimeNs">,
    path: string,
    changed: () => Error,
  ) {
    this.#transfers = transfers;
    this.#version = version;
    this.#path = path;
    this.#changed = changed;
  }

  /** SHA-256 of each slice, in order. Nothing reads the file any more when it ends. */
  async sliceDigests(): Promise<Uint8Array[]> {
    const { size } = this.#version;
    const digests = new Array<Uint8Array>(sliceCount(size));
    let next = 0;
    const hashOthers = async () => {
      while (next < digests.length) {
        const i = next++;
        const offset = i * SLICE_BYTES;
        const range = this.#range(offset, Math.min(SLICE_BYTES, size - offset));
        try {
          digests[i] = await this.#transfers.digestOf(range);
        } catch (error) {
          next = digests.length;
          throw this.#fileError(error);
        }
      }
    };
    const ends = await Promise.allSettled(Array.from({ length: HASHED_AT_ONCE }, hashOthers));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    return digests;
  }

  /** @param read For ways that cannot send from the file. */
  body(offset: number, length: number, read: FileBody["read"]): FileBody {
    const range = this.#range(offset, length);
    return {
      length,
      read,
      send: async (order, signal) => {
        try {
          return await this.#transfers.send(order, range, signal);
        } catch (error) {
          if (!(error instanceof FileFailed)) throw error;
          throw new FileFailed(error.message, { cause: this.#fileError(error) });
        }
      },
      copyTo: async (fd) => {
        try {
          const into = { fd, offset, length, digestFrom: offset };
          return (await this.#transfers.copy(range, into)).digest;
        } catch (error) {
          if (!(error instanceof CopyFailed) || error.end === "to") throw error;
          throw new CopyFailed("from", { cause: this.#fileError(error) });
        }
      },
    };
  }

  #range(offset: number, length: number): VersionRange {
    return { ...this.#version, offset, length };
  }

  /** What the upload tells its failures by. */
  #fileError(error: unknown): unknown {
    const cause = error instanceof FileFailed ? error.cause : error;
    if (cause instanceof OtherVersion) return this.#changed();
    return cause instanceof FileError ? new FileError(cause.errno, "read", this.#path) : cause;
  }
}
