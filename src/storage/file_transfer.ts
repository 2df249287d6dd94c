/**
 * Bytes of open files on their way between the disk and a server, or into a hash, without passing
 * through the event loop: what `transfer_threads.ts` offers, as backends and the engine see it.
 *
 * @module
 */

import type { WireLimits, WireRequest } from "./http_connections.ts";
import type { WireAnswer } from "./http_wire.ts";

/** A slice and its SHA-256. */
export interface Hashed {
  readonly digest: Uint8Array;
  /** The bytes that were given, which were moved there and back. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A range of an open file. Nobody closes the file before the call with it has ended. */
export interface FileRange {
  readonly fd: number;
  /** First byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

/** One version of an open file. */
export interface OpenVersion {
  readonly fd: number;
  /** Of the whole file, bytes. */
  readonly size: number;
  readonly mtimeNs: bigint;
}

/** A range of one version of a file. */
export interface VersionRange extends FileRange, OpenVersion {}

/** Where in a file what is received goes. */
export interface ReceivedRange extends FileRange {
  /** Where the digest begins: what is in the file from there to `offset` is part of it. */
  readonly digestFrom: number;
}

/** A request, without its body, and the server it goes to. */
export interface WireOrder {
  readonly server: { readonly origin: string; readonly caCerts: readonly string[] };
  readonly request: Pick<WireRequest, "method" | "target" | "headers">;
  readonly limits: WireLimits;
}

/** What went into a file in place of memory. */
export interface Written {
  readonly length: number;
  /** SHA-256 from {@link ReceivedRange.digestFrom} on. */
  readonly digest: Uint8Array;
}

/** An answer whose body is in the file, where it is the one that was wanted. */
export interface ReceivedAnswer extends WireAnswer {
  readonly written: Written | null;
}

/** The file is the cause: it could not be read or written, or changed. Its cause says why. */
export class FileFailed extends Error {
  override readonly name = "FileFailed";
}

/** Of a copy between two files: the one that is read, or the one that is written. */
export type CopyEnd = "from" | "to";

/** The file at that end of a copy is the cause. */
export class CopyFailed extends FileFailed {
  constructor(readonly end: CopyEnd, options: { cause: unknown }) {
    super(`the file that is ${end === "from" ? "copied" : "copied to"} fails`, options);
  }
}

/** The file is not the version that was named. */
export class OtherVersion extends Error {
  override readonly name = "OtherVersion";
}

/** See the module. Each call ends only when the file is not in use any more. */
export interface FileTransfers {
  /** SHA-256 of the range. @throws FileFailed; OtherVersion is its cause when the file changed */
  digestOf(range: VersionRange): Promise<Uint8Array>;
  /**
   * Sends the range as the body. Its last bytes are only sent when all were read and the file is still
   * that version: else no server has a whole body.
   * @throws FileFailed, or as `HttpConnections.send`
   */
  send(order: WireOrder, range: VersionRange, signal: AbortSignal): Promise<WireAnswer>;
  /**
   * Writes the body into the file if it is an answer of status 206 with exactly so many bytes.
   * @throws FileFailed, or as `HttpConnections.send`
   */
  receive(order: WireOrder, into: ReceivedRange, signal: AbortSignal): Promise<ReceivedAnswer>;
  /**
   * Copies the range of one file to where it goes in another, on threads that wait for nothing else: either
   * may be on a mount whose server does not answer. Its last bytes are only written when the first file is
   * still that version.
   * @param from As long as `into`.
   * @throws CopyFailed; OtherVersion is its cause when the first file changed
   */
  copy(from: VersionRange, into: ReceivedRange): Promise<Written>;
}

/** A range of a file as the body of a request. */
export interface FileBody {
  readonly length: number;
  /** @throws FileFailed, or as `HttpConnections.send` */
  send(order: WireOrder, signal: AbortSignal): Promise<WireAnswer>;
  /** Copies it to the same place of an open file; gives its SHA-256. @throws CopyFailed */
  copyTo(fd: number): Promise<Uint8Array>;
  /** The bytes, for ways that {@link FileTransfers} cannot go. */
  read(): Promise<Uint8Array<ArrayBuffer>>;
}

/** Takes a range of an object into a file. */
export interface FileSink {
  /** The body of an answer. @throws as {@link FileTransfers.receive} */
  receive(order: WireOrder, signal: AbortSignal): Promise<ReceivedAnswer>;
  /** The same range of an object that is an open file. @throws CopyFailed */
  copy(object: OpenVersion): Promise<Written>;
}

/** Takes what goes to that range. */
export function sinkInto(files: FileTransfers, into: ReceivedRange): FileSink {
  const { offset, length } = into;
  return {
    receive: (order, signal) => files.receive(order, into, signal),
    copy: (object) => files.copy({ ...object, offset, length }, into),
  };
}

/** Whatever hashes slices, and moves them where it can. */
export interface SliceWork {
  /** The bytes given must not be used again: those that come back are they. */
  digest(bytes: Uint8Array<ArrayBuffer>): Promise<Hashed>;
  /** Null: files are read and written by the caller. */
  readonly files: FileTransfers | null;
  /** Frees what it uses until the next call, of what is under way when that has ended. */
  close(): void;
}
