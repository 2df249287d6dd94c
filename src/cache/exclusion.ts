/**
 * Which depot paths are never cached, uploaded or evicted.
 *
 * @module
 */

import { globToRegExp } from "deno-std/path/glob_to_regexp.js";
import { isProbeObject } from "../storage/probe.ts";
import { MAX_PATH_BYTES, STATE_DIR } from "../depot_path.ts";

/**
 * Server files at the top of a P4ROOT: the depot directory may be one (`p4d -r` points at it). Left
 * alone everywhere, since a daemon may start before the server has made its first database.
 */
const P4ROOT_FILES =
  /^(db\..*|rdb\.lbr|journal.*|checkpoint.*|.*\.jnl.*|server\.id|license|state|statejcopy|log.*|errors.*|audit.*|.*\.lck)$/s;

/**
 * p4d's own temporaries beside the target, `tmp.PID.TID.SEQ`, renamed when whole: the final name is
 * what is uploaded.
 */
const TEMPORARY = /(^|\/)tmp\.\d+\.\d+(\.\d+)?$/;

/**
 * The same as {@link createExclusion}, for globs that may be others later.
 * @param current The globs in force; another array when they changed.
 */
export function createLiveExclusion(
  current: () => readonly string[],
): (path: string) => boolean {
  let globs = current();
  let isExcluded = createExclusion(globs);
  return (path) => {
    if (current() !== globs) {
      globs = current();
      isExcluded = createExclusion(globs);
    }
    return isExcluded(path);
  };
}

/** Returns a test that is true for paths to leave alone. */
export function createExclusion(globs: readonly string[]): (path: string) => boolean {
  const patterns = globs.map((glob) => globToRegExp(glob, { extended: true, globstar: true }));
  return (path) => isNeverStored(path) || patterns.some((pattern) => pattern.test(path));
}

/**
 * Whether nothing at the path was ever stored, whatever the globs are or were: a file that a glob
 * excludes may have been evicted before the glob was there, and is still to be found (P3).
 */
export function isNeverStored(path: string): boolean {
  // Too long for a manifest key: such a file stays where it is, on the NVMe.
  if (path.length > MAX_PATH_BYTES) return true;
  if (path.startsWith(STATE_DIR + "/") || path === STATE_DIR) return true;
  if (isProbeObject(path)) return true;
  if (path.startsWith("server.locks/")) return true;
  if (!path.includes("/") && P4ROOT_FILES.test(path)) return true;
  const slash = path.lastIndexOf("/");
  return path.startsWith("tmp.", slash + 1) && TEMPORARY.test(path);
}
