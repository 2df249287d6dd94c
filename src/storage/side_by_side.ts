/**
 * Parts of one upload that are sent side by side: the first failure stops the others, and nothing is
 * under way any more when the call ends.
 *
 * @module
 */

import { stopped } from "./operation.ts";

/**
 * Calls `send` for every index below `count`, `width` at a time.
 * @param send Its signal is aborted when another part has failed or the caller's is aborted.
 * @throws StorageError transient when stopped; else what the first failed part threw.
 */
export async function sideBySide(
  count: number,
  width: number,
  doing: string,
  signal: AbortSignal,
  send: (index: number, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const failed = new AbortController();
  const stop = () => failed.abort(signal.reason);
  signal.addEventListener("abort", stop);
  if (signal.aborted) stop();
  let next = 0;
  const worker = async () => {
    while (next < count && !failed.signal.aborted) {
      try {
        await send(next++, failed.signal);
      } catch (error) {
        failed.abort(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(count, width) }, worker));
  signal.removeEventListener("abort", stop);
  if (signal.aborted) throw stopped(doing, signal);
  if (failed.signal.aborted) throw failed.signal.reason;
}
