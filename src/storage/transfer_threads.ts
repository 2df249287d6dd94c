/**
 * Moves and hashes large slices on threads of their own, one a processor. On the event loop each slice
 * takes milliseconds, and while some are always ready the runtime looks for requests only now and then:
 * a miss waited for seconds. TLS, too, is worked out on the thread that has the connection.
 *
 * What goes between two files has threads of its own: a mount whose server is gone holds up those only.
 *
 * A thread gets descriptors and requests, never the bytes: they go from the disk to the server, and
 * back, through a piece of memory that stays in the processor's cache. Threads are there while there is
 * work, and a little longer.
 *
 * @module
 */

import { FileError } from "../../ffi/file_error.ts";
import { helperPath } from "../../ffi/library.ts";
import { sliceDigest } from "./content_digest.ts";
import {
  CopyFailed,
  FileFailed,
  type FileTransfers,
  type Hashed,
  OtherVersion,
  type ReceivedAnswer,
  type ReceivedRange,
  type SliceWork,
  type VersionRange,
  type WireOrder,
  type Written,
} from "./file_transfer.ts";
import { CannotConnect, NoProgress } from "./http_connections.ts";
import type { WireAnswer } from "./http_wire.ts";
import type { FromThread, Job, JobFailure, ToThread } from "./transfer_worker.ts";

/** Smaller ones are hashed sooner than sent to another thread. */
const THREADED_BYTES = 2 * 1024 * 1024;

/** Threads of each kind at most: more than these are limited by the disk or the line. */
const MAX_THREADS = 4;

/** How long a thread waits for the next job, ms. */
const IDLE_MS = 5_000;

/** Hashes on the caller's thread, and moves nothing. */
export const INLINE_WORK: SliceWork = {
  digest: (bytes) => Promise.resolve({ digest: sliceDigest(bytes), bytes }),
  files: null,
  close: () => {},
};

interface Thread {
  readonly worker: Worker;
  readonly waiting: Map<number, PromiseWithResolvers<unknown>>;
}

/** See the module. */
export class TransferThreads implements SliceWork, FileTransfers {
  readonly files: FileTransfers = this;
  /** Read the depot, and talk to servers. */
  readonly #toServers;
  readonly #betweenFiles;

  /** @param onRest Threads had nothing to do and were ended: what they had taken is free in a moment. */
  constructor(onRest: () => void = () => {}) {
    this.#toServers = new Threads(onRest);
    this.#betweenFiles = new Threads(onRest);
  }

  async digest(bytes: Uint8Array<ArrayBuffer>): Promise<Hashed> {
    // Only a whole buffer can be moved: others may look at the rest of it.
    const isWhole = bytes.length === bytes.buffer.byteLength;
    if (bytes.length < THREADED_BYTES || !isWhole) return await INLINE_WORK.digest(bytes);
    const { buffer } = bytes;
    const answer = await this.#toServers.do({ kind: "hash", buffer }, null, [buffer]);
    const hashed = answer as { digest: Uint8Array; buffer: ArrayBuffer };
    return { digest: hashed.digest, bytes: new Uint8Array(hashed.buffer) };
  }

  async digestOf(range: VersionRange): Promise<Uint8Array> {
    return await this.#toServers.do({ kind: "digestOf", range }) as Uint8Array;
  }

  async send(order: WireOrder, range: VersionRange, signal: AbortSignal): Promise<WireAnswer> {
    return await this.#toServers.do({ kind: "send", order, range }, signal) as WireAnswer;
  }

  async receive(
    order: WireOrder,
    into: ReceivedRange,
    signal: AbortSignal,
  ): Promise<ReceivedAnswer> {
    return await this.#toServers.do({ kind: "receive", order, into }, signal) as ReceivedAnswer;
  }

  async copy(from: VersionRange, into: ReceivedRange): Promise<Written> {
    return await this.#betweenFiles.do({ kind: "copy", from, into }) as Written;
  }

  close(): void {
    this.#toServers.close();
    this.#betweenFiles.close();
  }
}

/** Threads that are started as they are needed, up to one a processor. */
class Threads {
  readonly #threads = new Set<Thread>();
  readonly #onRest: () => void;
  #nextId = 0;
  #idleTimer = 0;

  constructor(onRest: () => void) {
    this.#onRest = onRest;
  }

  /**
   * Ends the threads that have nothing to do; they are started again when they are needed. One that has
   * something goes on, since it may be in the middle of a write to a file that its caller closes as soon
   * as it hears of an end, and rests when it is done.
   */
  close(): void {
    clearTimeout(this.#idleTimer);
    for (const thread of this.#threads) if (thread.waiting.size === 0) this.#end(thread);
  }

  async do(job: Job, signal: AbortSignal | null = null, moved: ArrayBuffer[] = []) {
    clearTimeout(this.#idleTimer);
    const thread = this.#choose();
    const id = this.#nextId++;
    const answer = Promise.withResolvers<unknown>();
    thread.waiting.set(id, answer);
    const tell = (message: ToThread, moved: ArrayBuffer[] = []) =>
      thread.worker.postMessage(message, moved);
    const stop = () => tell({ kind: "abort", id });
    tell({ kind: "job", id, job }, moved);
    signal?.addEventListener("abort", stop);
    if (signal?.aborted) stop();
    try {
      // Not given up before the thread says so: the caller closes the file then.
      return await answer.promise;
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** The thread with the least to do; a new one while all have something and there may be more. */
  #choose(): Thread {
    const [least] = [...this.#threads].sort((a, b) => a.waiting.size - b.waiting.size);
    const mayStart = this.#threads.size < Math.min(MAX_THREADS, navigator.hardwareConcurrency);
    if (least !== undefined && (least.waiting.size === 0 || !mayStart)) return least;
    return this.#start();
  }

  #start(): Thread {
    // Bundled, it is a file of its own beside the others.
    const suffix = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const url = new URL(`./transfer_worker.${suffix}`, import.meta.url);
    const worker = new Worker(url, { type: "module" });
    const thread: Thread = { worker, waiting: new Map() };
    this.#threads.add(thread);
    worker.onmessage = ({ data }: MessageEvent<FromThread>) => {
      const answer = thread.waiting.get(data.id);
      thread.waiting.delete(data.id);
      if ("failure" in data) answer?.reject(errorOf(data.failure));
      else answer?.resolve(data.result);
      this.#restLater();
    };
    worker.onerror = (event) => {
      event.preventDefault();
      // Its code has ended by itself: no file is in use any more.
      const why = new Error(`A thread for transfers failed: ${event.message}`);
      for (const { reject } of thread.waiting.values()) reject(why);
      this.#end(thread);
    };
    worker.postMessage({ kind: "begin", helperPath: helperPath() } satisfies ToThread);
    return thread;
  }

  #restLater(): void {
    for (const { waiting } of this.#threads) if (waiting.size > 0) return;
    clearTimeout(this.#idleTimer);
    const rest = () => {
      this.close();
      this.#onRest();
    };
    this.#idleTimer = setTimeout(rest, IDLE_MS);
    Deno.unrefTimer(this.#idleTimer);
  }

  #end(thread: Thread): void {
    this.#threads.delete(thread);
    thread.worker.terminate();
  }
}

/** The error that the thread had. */
function errorOf(failure: JobFailure): Error {
  const { kind, message, end } = failure;
  const cause = causeOf(failure);
  if (end !== null) return new CopyFailed(end, { cause });
  if (kind === "otherVersion") return new FileFailed("the file changed", { cause });
  return kind === "file" ? new FileFailed(message, { cause }) : cause;
}

function causeOf({ kind, message, errno }: JobFailure): Error {
  switch (kind) {
    case "noProgress":
      return new NoProgress(message);
    case "cannotConnect":
      return new CannotConnect(message);
    case "otherVersion":
      return new OtherVersion();
    case "file":
      return new FileError(errno, "use", "an open file");
    case "other":
      return new Error(message);
  }
}
