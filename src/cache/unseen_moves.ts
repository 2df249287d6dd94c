/**
 * Renames of directories that nobody told, as they are found on the disk: which of them are renames of their
 * own, and whether they can be taken in one after another.
 *
 * @module
 */

import { type DepotPath, directoryOf } from "../depot_path.ts";

/** A directory that is not where it was. */
export interface Moved {
  readonly identity: string;
  readonly from: DepotPath;
  readonly to: DepotPath;
}

/** Those that did not just come along with the nearest directory above them that moved. */
export function ownMoves(moves: readonly Moved[]): Moved[] {
  const targets = new Map<string, DepotPath>(moves.map(({ from, to }) => [from, to]));
  return moves.filter(({ from, to }) => {
    for (let dir = directoryOf(from); dir !== ""; dir = directoryOf(dir)) {
      const target = targets.get(dir);
      if (target !== undefined) return target + from.slice(dir.length) !== to;
    }
    return true;
  });
}

/** Whether one of them, in their order, would come to where it or another one still is, or into that. */
export function areInTheWay(moves: readonly Moved[]): boolean {
  const done: { from: string; to: string }[] = [];
  const now = (path: string) =>
    done.reduce((at, { from, to }) => isAt(at, from) ? to + at.slice(from.length) : at, path);
  return moves.some(({ from, to }, i) => {
    const isMet = moves.slice(i).some((other) => {
      const there = now(other.from);
      return isAt(there, to) || isAt(to, there);
    });
    done.push({ from: now(from), to });
    return isMet;
  });
}

/** Whether the path is the directory, or below it. */
function isAt(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir + "/");
}
