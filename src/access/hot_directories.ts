/**
 * Which directories are read most: entries are taken in the order of their paths, and only the
 * directories of the current path and the best found so far are in memory.
 *
 * @module
 */

import { pathFromBytes } from "../depot_path.ts";

/** What is known of one directory; the path is one character per byte, "" the depot itself. */
export interface DirectoryHeat {
  readonly path: string;
  /** Files with an entry. */
  files: number;
  /** Of these, files accessed at or after the given time. */
  recent: number;
  /** The latest access, seconds since the epoch. */
  lastSeconds: number;
}

const SLASH = 0x2f;

/** See the module's description. */
export class HotDirectories {
  readonly #sinceSeconds: number;
  readonly #depth: number;
  readonly #limit: number;
  /** Directories that contain one another, the current one last. */
  readonly #open: DirectoryHeat[] = [];
  #current = new Uint8Array(0);
  readonly #best: DirectoryHeat[] = [];

  /**
   * @param sinceSeconds Accesses from then on are recent.
   * @param depth Deeper directories count as the one at this depth; Infinity: each for itself.
   * @param limit How many directories are wanted.
   */
  constructor(sinceSeconds: number, depth: number, limit: number) {
    this.#sinceSeconds = sinceSeconds;
    this.#depth = depth;
    this.#limit = limit;
  }

  /** Takes an entry; paths come in the order of their bytes. */
  add(path: Uint8Array, seconds: number): void {
    const directory = this.#directoryOf(path);
    directory.files++;
    if (seconds >= this.#sinceSeconds) directory.recent++;
    if (seconds > directory.lastSeconds) directory.lastSeconds = seconds;
  }

  /** The directories with the most recent files, hottest first. */
  finish(): readonly DirectoryHeat[] {
    while (this.#open.length > 0) this.#close();
    return this.#best;
  }

  #directoryOf(path: Uint8Array): DirectoryHeat {
    const length = this.#directoryLength(path);
    const top = this.#open.at(-1);
    if (top !== undefined && isSame(path, length, this.#current)) return top;
    const name = pathFromBytes(path.subarray(0, length));
    while (this.#open.length > 0 && !isInside(name, this.#open.at(-1)!.path)) this.#close();
    this.#current = path.slice(0, length);
    const open = this.#open.at(-1);
    if (open?.path === name) return open;
    const opened = { path: name, files: 0, recent: 0, lastSeconds: 0 };
    this.#open.push(opened);
    return opened;
  }

  /** Length of the part of the path that names its directory, without the slash after it. */
  #directoryLength(path: Uint8Array): number {
    if (this.#depth === Infinity) return Math.max(0, path.lastIndexOf(SLASH));
    let end = 0;
    for (let level = 0; level < this.#depth; level++) {
      const slash = path.indexOf(SLASH, end + 1);
      if (slash < 0) break;
      end = slash;
    }
    return end;
  }

  #close(): void {
    const closed = this.#open.pop()!;
    if (closed.recent === 0) return;
    const at = this.#best.findIndex((other) => isHotter(closed, other));
    this.#best.splice(at < 0 ? this.#best.length : at, 0, closed);
    if (this.#best.length > this.#limit) this.#best.pop();
  }
}

function isSame(path: Uint8Array, length: number, current: Uint8Array): boolean {
  if (length !== current.length) return false;
  for (let i = length - 1; i >= 0; i--) if (path[i] !== current[i]) return false;
  return true;
}

function isInside(path: string, directory: string): boolean {
  return directory === "" || path === directory || path.startsWith(directory + "/");
}

function isHotter(a: DirectoryHeat, b: DirectoryHeat): boolean {
  return a.recent !== b.recent ? a.recent > b.recent : a.lastSeconds > b.lastSeconds;
}
