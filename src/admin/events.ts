/**
 * `p4-cache events`: what happens to single files, as it happens.
 *
 * @module
 */

import type { EventFeed, FileEvent } from "../observe/event_feed.ts";

/** Tells the latest events, and, where that is asked for, those that come. */
export async function* events(
  feed: EventFeed,
  last: number,
  follow: boolean,
  signal: AbortSignal,
): AsyncGenerator<{ events: FileEvent[]; missed: number }, null, void> {
  let seen = Math.max(0, feed.last - last);
  for (let isFirst = true; !signal.aborted; isFirst = false) {
    const found = feed.after(seen);
    // Who reads more slowly than files change misses those that are no longer remembered.
    const missed = isFirst || found.length === 0 ? 0 : found[0]!.id - seen - 1;
    seen = feed.last;
    if (found.length > 0) yield { events: found, missed };
    if (!follow) break;
    if (feed.last === seen) await feed.next(signal);
  }
  return null;
}
