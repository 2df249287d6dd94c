/**
 * What the names of p4d's archive files say about their life.
 *
 * `file,v` (RCS) is written anew with each revision. Files in `file,d/` are written once, one for each
 * revision: their names are never used again.
 *
 * @module
 */

/** Whether p4d writes such a file anew: a copy of it goes stale. */
export function isRewritten(path: string): boolean {
  return path.endsWith(",v");
}

/** Whether all copies of such a file are alike, however old they are. */
export function isWrittenOnce(path: string): boolean {
  return path.includes(",d/");
}

/** Whether it is a file that holds revisions: p4d asks for one when it knows that it should be there. */
export function isArchive(path: string): boolean {
  return isRewritten(path) || isWrittenOnce(path);
}
