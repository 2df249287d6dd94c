/**
 * Hashes large slices on a thread of its own. On the event loop each takes milliseconds, and while some
 * are always ready the runtime looks for requests only now and then: a miss waited for seconds.
 *
 * The thread is there while there are slices, and a little longer.
 *
 * @module
 */

import { sliceDigest } from "./content_digest.ts";

/** Smaller ones are hashed sooner than sent to another thread. */
const THREADED_BYTES = 2 * 1024 * 1024;

/** How long the thread waits for the next slice, ms. */
const IDLE_MS = 5_000;

/** A slice and its SHA-256. */
export interface Hashed {
  readonly digest: Uint8Array;
  /** The bytes that were given, which were moved there and back. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Whatever hashes slices. The bytes given must not be used again: those that come back are they. */
export interface SliceHashing {
  digest(bytes: Uint8Array<ArrayBuffer>): Promise<Hashed>;
}

/** Hashes on the caller's thread. */
export const INLINE_HASHING: SliceHashing = {
  digest: (bytes) => Promise.resolve({ digest: sliceDigest(bytes), bytes }),
};

/** See the module. */
export class SliceHasher implements SliceHashing {
  #worker: Worker | null = null;
  /** Those whose slices the thread has, in the order in which it answers. */
  #waiting: PromiseWithResolvers<Hashed>[] = [];
  #idleTimer = 0;

  digest(bytes: Uint8Array<ArrayBuffer>): Promise<Hashed> {
    // Only a whole buffer can be moved: others may look at the rest of it.
    const isWhole = bytes.length === bytes.buffer.byteLength;
    if (bytes.length < THREADED_BYTES || !isWhole) return INLINE_HASHING.digest(bytes);
    const answer = Promise.withResolvers<Hashed>();
    this.#waiting.push(answer);
    clearTimeout(this.#idleTimer);
    this.#worker ??= this.#start();
    this.#worker.postMessage(bytes.buffer, [bytes.buffer]);
    return answer.promise;
  }

  /** Ends the thread; it is started again when it is needed. */
  close(): void {
    clearTimeout(this.#idleTimer);
    this.#worker?.terminate();
    this.#worker = null;
    for (const { reject } of this.#waiting.splice(0)) reject(new Error("Hashing was stopped"));
  }

  #start(): Worker {
    // Bundled, it is a file of its own beside the others.
    const suffix = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const url = new URL(`./slice_hash_worker.${suffix}`, import.meta.url);
    const worker = new Worker(url, { type: "module" });
    worker.onmessage = ({ data }: MessageEvent<[Uint8Array, ArrayBuffer]>) => {
      const [digest, buffer] = data;
      this.#waiting.shift()?.resolve({ digest, bytes: new Uint8Array(buffer) });
      if (this.#waiting.length > 0) return;
      this.#idleTimer = setTimeout(() => this.close(), IDLE_MS);
      Deno.unrefTimer(this.#idleTimer);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      const error = new Error(`Cannot hash a slice: ${event.message}`);
      for (const { reject } of this.#waiting.splice(0)) reject(error);
      this.close();
    };
    return worker;
  }
}
