/**
 * Tries a backend at start: stores, reads and removes a small object, or, where nothing is written,
 * asks for one that is not there. A wrong bucket, key, region or permission shows before p4d relies
 * on it.
 *
 * @module
 */

import type { DepotPath } from "../depot_path.ts";
import { type Backend, StorageError } from "./backend.ts";
import { bytesContent } from "./bytes_content.ts";

/** Depot files of such names are never cached, objects of such names never listed. */
export const PROBE_DIR = ".p4cache-probe/";

/** What the object holds; the same each time, so that daemons that share a bucket do not differ. */
const TEXT = "p4-cache tries its storage with this object; it can be removed.\n";

/** How far a backend can be used. */
export type ProbeResult =
  | { readonly kind: "usable" }
  /** It can be used, but the object could not be removed. */
  | { readonly kind: "keeps"; readonly why: string }
  /** It answered, and refused or garbled the request: it will not get better by itself. */
  | { readonly kind: "refused"; readonly why: string }
  /** It did not answer, or asked for patience. */
  | { readonly kind: "unreachable"; readonly why: string };

/** Whether the path is one of the probe's. */
export function isProbeObject(path: string): boolean {
  return path.startsWith(PROBE_DIR);
}

/**
 * Tries the backend. Never throws.
 * @param mayWrite Whether objects are to be stored; else nothing is written.
 * @param timeoutMs After that it counts as unreachable.
 */
export async function probeBackend(
  backend: Backend,
  mayWrite: boolean,
  timeoutMs: number,
): Promise<ProbeResult> {
  const path = PROBE_DIR + crypto.randomUUID() as DepotPath;
  const timeout = AbortSignal.timeout(timeoutMs);
  try {
    if (!mayWrite) {
      await expectAbsent(backend, path, timeout);
      return { kind: "usable" };
    }
    return await storeAndRead(backend, path, timeout);
  } catch (error) {
    const why = timeout.aborted
      ? `Cannot use ${backend.label}: no answer within ${timeoutMs / 1000} s`
      : error instanceof Error
      ? error.message
      : String(error);
    const isPassing = timeout.aborted || error instanceof StorageError &&
        (error.kind === "transient" || error.kind === "throttled");
    return { kind: isPassing ? "unreachable" : "refused", why };
  }
}

/** That it says "absent" is what the daemon relies on (promise P3). */
async function expectAbsent(
  backend: Backend,
  path: DepotPath,
  signal: AbortSignal,
): Promise<void> {
  try {
    // Not a head: its refusals come without words.
    await backend.getRange(path, 0, 1, { signal });
  } catch (error) {
    if (error instanceof StorageError && error.kind === "absent") return;
    throw error;
  }
  throw new StorageError(
    "permanent",
    `Cannot trust ${backend.label}: it says that it has an object nobody stored; check the endpoint`,
  );
}

async function storeAndRead(
  backend: Backend,
  path: DepotPath,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const content = bytesContent(new TextEncoder().encode(TEXT), Date.now());
  await backend.put(path, content, signal);
  try {
    const { bytes } = await backend.getRange(path, 0, content.size, { signal });
    if (new TextDecoder().decode(bytes) !== TEXT) {
      throw new StorageError(
        "corrupt",
        `Cannot trust ${backend.label}: it gave back other bytes than were stored; check the endpoint`,
      );
    }
  } catch (error) {
    await backend.delete(path, signal).catch(() => {});
    throw error;
  }
  try {
    await backend.delete(path, signal);
    return { kind: "usable" };
  } catch (error) {
    // The daemon itself removes nothing that it cannot do without.
    return { kind: "keeps", why: error instanceof Error ? error.message : String(error) };
  }
}
