/**
 * Which of two files is worth more: the order of eviction, pure.
 *
 * `lru` goes by the last access alone. One pass over everything (`p4 verify`, a backup) makes every
 * file the last one read, and flushes what people work with.
 *
 * `lru2` goes by the access before the last one (LRU-2; O'Neil, O'Neil, Weikum, 1993): a pass over
 * everything is one access, and moves no file before those that were read twice since. A file without
 * an access before the last one counts as if that had been {@link ONCE_SECONDS} before the last, so
 * that files once read often do not stay for ever. The access log remembers accesses of files that
 * are evicted; so a file that comes back has its place at once.
 *
 * @module
 */

/** The orders that can be chosen. */
export type EvictPolicy = "lru" | "lru2";

/** All of them, the default first. */
export const EVICT_POLICIES: readonly EvictPolicy[] = ["lru2", "lru"];

/** Accesses closer together than this are one, s: one program's opens of one file, and its restore. */
export const SAME_ACCESS_SECONDS = 5;

/** How long an evicted file's last access counts, s: less than the time between two nightly jobs. */
const REMEMBERED_SECONDS = 12 * 3600;

/** See the module's description. */
const ONCE_SECONDS = 2 * 86_400;

/**
 * Place in the order, as a time; the lowest goes first.
 * @param lastAccess Seconds since the epoch.
 * @param previousAccess The access before it; 0: not known.
 */
export function rankOf(lastAccess: number, previousAccess: number): number {
  return Math.max(0, previousAccess, lastAccess - ONCE_SECONDS);
}

/**
 * The access before the last one of a file that comes back into the cache.
 * @param loggedAccess Its latest access as the access log has it; 0: none.
 */
export function previousOfRestored(loggedAccess: number, nowSeconds: number): number {
  return nowSeconds - loggedAccess < REMEMBERED_SECONDS ? loggedAccess : 0;
}

/** The access before the last one, after an access. All in seconds since the epoch. */
export function previousAfter(
  lastAccess: number,
  previousAccess: number,
  nowSeconds: number,
): number {
  return nowSeconds - lastAccess >= SAME_ACCESS_SECONDS ? lastAccess : previousAccess;
}
