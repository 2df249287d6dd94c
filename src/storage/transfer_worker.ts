/**
 * A thread of `transfer_threads.ts`. Each job goes through one piece of memory again and again, which
 * stays in the processor's cache: read, hashed and sent, or received, hashed and written.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { FileError } from "../../ffi/file_error.ts";
import { FileRanges } from "../../ffi/file_ranges.ts";
import { sliceDigest } from "./content_digest.ts";
import {
  type CopyEnd,
  CopyFailed,
  FileFailed,
  OtherVersion,
  type ReceivedRange,
  type VersionRange,
  type WireOrder,
  type Written,
} from "./file_transfer.ts";
import {
  BodyFailed,
  type BodySource,
  CannotConnect,
  HttpConnections,
  NoProgress,
} from "./http_connections.ts";
import type { BodySink } from "./http_wire.ts";

/** Bytes in hand of each job. */
const PIECE_BYTES = 256 * 1024;

/**
 * How far the kernel reads ahead in a file that is copied: on a mount it would else be asked for little at a
 * time, and each time be waited for. It does so in steps, which it does not interrupt for anybody.
 */
const AHEAD_BYTES = 4 * 1024 * 1024, AHEAD_STEP_BYTES = 512 * 1024;

/** What a thread is told. */
export type ToThread =
  | { readonly kind: "begin"; readonly helperPath: string }
  | { readonly kind: "abort"; readonly id: number }
  | { readonly kind: "job"; readonly id: number; readonly job: Job };

/** What a thread does. */
export type Job =
  | { readonly kind: "hash"; readonly buffer: ArrayBuffer }
  | { readonly kind: "digestOf"; readonly range: VersionRange }
  | { readonly kind: "send"; readonly order: WireOrder; readonly range: VersionRange }
  | { readonly kind: "receive"; readonly order: WireOrder; readonly into: ReceivedRange }
  | { readonly kind: "copy"; readonly from: VersionRange; readonly into: ReceivedRange };

/** Why a job failed, as it crosses from thread to thread. */
export interface JobFailure {
  readonly kind: "noProgress" | "cannotConnect" | "otherVersion" | "file" | "other";
  readonly message: string;
  /** Of "file". */
  readonly errno: number;
  /** Of a copy. */
  readonly end: CopyEnd | null;
}

/** What a thread answers. */
export type FromThread =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly failure: JobFailure };

/** What a worker has that the main thread's types lack. */
interface WorkerScope {
  onmessage: (event: MessageEvent<ToThread>) => void;
  postMessage(message: FromThread, moved: ArrayBuffer[]): void;
}

/** Room for one job; what a failed job used may still be in use, and is not used again. */
class Rooms {
  readonly #free: Uint8Array<ArrayBuffer>[] = [];

  async lend<T>(use: (room: Uint8Array<ArrayBuffer>) => T | Promise<T>): Promise<T> {
    const room = this.#free.pop() ?? new Uint8Array(PIECE_BYTES);
    const result = await use(room);
    this.#free.push(room);
    return result;
  }
}

/** Does the jobs of one thread. */
class Jobs {
  readonly #files: FileRanges;
  readonly #rooms = new Rooms();
  /** By server. */
  readonly #connections = new Map<string, HttpConnections>();

  constructor(helperPath: string) {
    this.#files = new FileRanges(helperPath);
  }

  async do(job: Job, signal: AbortSignal): Promise<{ result: unknown; moved?: ArrayBuffer[] }> {
    if (job.kind === "hash") {
      // A copy: the digest may be a view of a larger buffer.
      const digest = Uint8Array.from(sliceDigest(new Uint8Array(job.buffer)));
      return { result: { digest, buffer: job.buffer }, moved: [job.buffer] };
    }
    if (job.kind === "digestOf") return { result: await this.#digestOf(job.range) };
    if (job.kind === "send") return { result: await this.#send(job.order, job.range, signal) };
    if (job.kind === "copy") return { result: await this.#copy(job.from, job.into) };
    return { result: await this.#receive(job.order, job.into, signal) };
  }

  #digestOf(range: VersionRange): Promise<Uint8Array> {
    return this.#rooms.lend((room) => {
      const hash = createHash("sha256");
      for (const piece of this.#pieces(range, room)) hash.update(piece);
      return Uint8Array.from(hash.digest());
    });
  }

  /** The bytes of the range; the last ones only of the version that it names. */
  *#pieces(
    { fd, offset, length, size, mtimeNs }: VersionRange,
    room: Uint8Array<ArrayBuffer>,
    assertOpen = () => {},
  ): Generator<Uint8Array<ArrayBuffer>> {
    for (let at = 0; at < length; at += room.length) {
      assertOpen();
      const piece = room.subarray(0, Math.min(room.length, length - at));
      if (this.#files.read(fd, piece, offset + at) < piece.length) throw new OtherVersion();
      if (at + piece.length === length) {
        const now = this.#files.version(fd);
        if (now.size !== size || now.mtimeNs !== mtimeNs) throw new OtherVersion();
      }
      yield piece;
    }
  }

  #send(order: WireOrder, range: VersionRange, signal: AbortSignal) {
    return this.#rooms.lend(async (room) => {
      // A write that was given up may come back when the file is closed.
      let isOpen = true;
      const assertOpen = () => {
        if (!isOpen) throw new OtherVersion();
      };
      const body: BodySource = {
        length: range.length,
        pieces: () => this.#pieces(range, room, assertOpen),
      };
      try {
        const request = { ...order.request, body };
        return await this.#to(order).send(request, order.limits, signal);
      } finally {
        isOpen = false;
      }
    });
  }

  #receive(order: WireOrder, into: ReceivedRange, signal: AbortSignal) {
    return this.#rooms.lend(async (room) => {
      const hash = createHash("sha256");
      this.#hashBefore(hash, into, room);
      let at = 0;
      let isOpen = true;
      const sink: BodySink = {
        room,
        wants: (status, length) => status === 206 && length === into.length,
        take: (piece) => {
          if (!isOpen) throw new Error("it was given up");
          hash.update(piece);
          try {
            this.#files.write(into.fd, piece, into.offset + at);
          } catch (cause) {
            throw new FileFailed("the file cannot be written", { cause });
          }
          at += piece.length;
        },
      };
      try {
        const request = { ...order.request, body: null };
        const answer = await this.#to(order).send(request, order.limits, signal, sink);
        const written = at === into.length && at > 0
          ? { length: at, digest: Uint8Array.from(hash.digest()) }
          : null;
        return { ...answer, written };
      } finally {
        isOpen = false;
      }
    });
  }

  #copy(from: VersionRange, into: ReceivedRange): Promise<Written> {
    return this.#rooms.lend((room) => {
      const hash = createHash("sha256");
      let end: CopyEnd = "to";
      let ahead = from.offset;
      const readAhead = (at: number) => {
        const until = Math.min(at + AHEAD_BYTES, from.offset + from.length);
        for (; ahead < until; ahead += AHEAD_STEP_BYTES) {
          this.#files.willRead(from.fd, ahead, AHEAD_STEP_BYTES);
        }
      };
      try {
        this.#hashBefore(hash, into, room);
        let at = from.offset;
        readAhead(at);
        end = "from";
        for (const piece of this.#pieces(from, room)) {
          hash.update(piece);
          end = "to";
          this.#files.write(into.fd, piece, at);
          at += piece.length;
          readAhead(at);
          end = "from";
        }
      } catch (cause) {
        throw new CopyFailed(end, { cause });
      }
      return { length: into.length, digest: Uint8Array.from(hash.digest()) };
    });
  }

  #hashBefore(
    hash: ReturnType<typeof createHash>,
    { fd, offset, digestFrom }: ReceivedRange,
    room: Uint8Array<ArrayBuffer>,
  ): void {
    for (let at = digestFrom; at < offset;) {
      const piece = room.subarray(0, Math.min(room.length, offset - at));
      if (this.#files.read(fd, piece, at) < piece.length) throw new OtherVersion();
      hash.update(piece);
      at += piece.length;
    }
  }

  #to({ server: { origin, caCerts } }: WireOrder): HttpConnections {
    const key = [origin, ...caCerts].join("\n");
    const known = this.#connections.get(key);
    if (known !== undefined) return known;
    const made = new HttpConnections(new URL(origin), [...caCerts]);
    this.#connections.set(key, made);
    return made;
  }
}

function failureOf(error: unknown): JobFailure {
  const isWrapped = error instanceof BodyFailed || error instanceof FileFailed;
  const cause = isWrapped ? error.cause : error;
  const message = cause instanceof Error ? cause.message : String(cause);
  const kind = cause instanceof OtherVersion
    ? "otherVersion"
    : cause instanceof FileError
    ? "file"
    : cause instanceof NoProgress
    ? "noProgress"
    : cause instanceof CannotConnect
    ? "cannotConnect"
    : "other";
  return {
    kind,
    message,
    errno: cause instanceof FileError ? cause.errno : 0,
    end: error instanceof CopyFailed ? error.end : null,
  };
}

const scope = globalThis as unknown as WorkerScope;
const aborts = new Map<number, AbortController>();
let jobs: Jobs | null = null;

async function answer(id: number, job: Job): Promise<void> {
  const abort = new AbortController();
  aborts.set(id, abort);
  try {
    const { result, moved = [] } = await jobs!.do(job, abort.signal);
    scope.postMessage({ id, result }, moved);
  } catch (error) {
    scope.postMessage({ id, failure: failureOf(error) }, []);
  } finally {
    aborts.delete(id);
  }
}

scope.onmessage = ({ data }) => {
  if (data.kind === "begin") jobs = new Jobs(data.helperPath);
  else if (data.kind === "abort") aborts.get(data.id)?.abort();
  else void answer(data.id, data.job);
};
