/**
 * Copies within a container, made by the service ("Copy Blob").
 *
 * Within an account the service mostly has copied when it answers; else the copy is pending, and
 * looked after until it is done.
 *
 * @module
 */

import { pause } from "../backoff.ts";
import { StorageError } from "../backend.ts";
import { stopped } from "../operation.ts";
import { etagOf } from "./azure_answers.ts";
import type { AzureRequests } from "./azure_requests.ts";

const LOOK_EVERY_MS = 500;
const ABORT_TIMEOUT_MS = 15_000;

/** What one copy needs. */
export interface BlobCopy {
  readonly requests: AzureRequests;
  /** Names, one character per byte. */
  readonly from: string;
  readonly to: string;
  /** The version that is copied. */
  readonly etag: string;
  /** Metadata and tier of the copy. */
  readonly headers: readonly (readonly [string, string])[];
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** Copies; returns the copy's tag. @throws StorageError */
export async function copyBlob(copy: BlobCopy): Promise<string> {
  const { requests, to, doing, signal } = copy;
  let answer = await requests.send({
    method: "PUT",
    blob: to,
    copyOf: copy.from,
    headers: [...copy.headers, ["x-ms-source-if-match", copy.etag]],
    doing,
    signal,
  });
  await answer.cancel();
  const id = answer.headers.get("x-ms-copy-id") ?? "";
  try {
    for (;;) {
      const status = answer.headers.get("x-ms-copy-status");
      if (status === "success") return etagOf(answer, doing);
      if (status !== "pending" || answer.headers.get("x-ms-copy-id") !== id) {
        const why = answer.headers.get("x-ms-copy-status-description") ?? status ?? "no status";
        throw new StorageError("transient", `Cannot ${doing}: it was not copied: ${why}`);
      }
      await pause(LOOK_EVERY_MS, signal);
      if (signal.aborted) throw stopped(doing, signal);
      answer = await requests.send({ method: "HEAD", blob: to, doing, signal });
      await answer.cancel();
    }
  } catch (error) {
    if (answer.headers.get("x-ms-copy-status") === "pending") await abort(copy, id);
    throw error;
  }
}

/** Ends a pending copy; what cannot be ended is ended or done by itself. */
async function abort({ requests, to, doing }: BlobCopy, id: string): Promise<void> {
  try {
    const answer = await requests.send({
      method: "PUT",
      blob: to,
      query: { comp: "copy", copyid: id },
      headers: [["x-ms-copy-action", "abort"]],
      doing,
      // The caller's signal may be what ended the copy.
      signal: AbortSignal.timeout(ABORT_TIMEOUT_MS),
    });
    await answer.cancel();
  } catch (error) {
    if (!(error instanceof StorageError)) throw error;
  }
}
