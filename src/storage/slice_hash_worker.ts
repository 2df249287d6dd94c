/**
 * The thread of `slice_hasher.ts`: gets a buffer, answers with its SHA-256 and the buffer.
 *
 * @module
 */

import { sliceDigest } from "./content_digest.ts";

/** What a worker has that the main thread's types lack. */
interface WorkerScope {
  onmessage: (event: MessageEvent<ArrayBuffer>) => void;
  postMessage(message: unknown, moved: ArrayBuffer[]): void;
}

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data }) => {
  // A copy: the digest may be a view of a larger buffer.
  const digest = Uint8Array.from(sliceDigest(new Uint8Array(data)));
  scope.postMessage([digest, data], [data]);
};
