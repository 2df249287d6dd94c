/**
 * Where a program can load the preload library from: the installed one, or one that we write to a
 * place of the user's own.
 *
 * @module
 */

import { join } from "node:path/posix";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { DEFAULT_TARGET, installShim } from "./shim_install.ts";

const NAME = "libp4shim.so";

/** Bits of a directory's mode that let others change what is in it. */
const OTHERS_WRITE = 0o022;

/** What is asked of the system; a test answers itself. */
export interface ShimPlaces {
  readonly installed: string;
  /** Directories of the user's own, the best first. */
  readonly own: readonly string[];
}

/** The places on this machine. */
export function shimPlaces(env: (name: string) => string | undefined): ShimPlaces {
  const caches = [env("XDG_CACHE_HOME"), env("HOME") && `${env("HOME")}/.cache`];
  const own = caches.filter((dir) => dir?.startsWith("/")).map((dir) => `${dir}/p4-cache`);
  return { installed: DEFAULT_TARGET, own: [...own, `/tmp/p4-cache-${Deno.uid()}`] };
}

/**
 * A file that holds the library, which nobody but its owner and root can change.
 * @param library Its bytes, as carried in this binary. An installed one is used when it is the same.
 * @throws EnvironmentError when there is no place for it.
 */
export function placeShim(library: Uint8Array, places: ShimPlaces): string {
  if (holds(places.installed, library)) return places.installed;
  const problems: string[] = [];
  for (const dir of places.own) {
    const path = join(dir, NAME);
    try {
      makePrivate(dir);
      if (!holds(path, library)) installShim(path, library);
      return path;
    } catch (error) {
      problems.push(reasonOf(error));
    }
  }
  throw new EnvironmentError(
    `Cannot write the shim for this user: ${problems.join("; ")}; ` +
      "run 'p4-cache shim install' as root once",
  );
}

/** A library that others can change must not be loaded. */
function makePrivate(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  const { isDirectory, uid, mode } = Deno.lstatSync(dir);
  if (isDirectory && uid === Deno.uid() && ((mode ?? 0) & OTHERS_WRITE) === 0) return;
  throw new Error(`${dir} is not a directory that only this user may change`);
}

function holds(path: string, library: Uint8Array): boolean {
  try {
    const there = Deno.readFileSync(path);
    return there.length === library.length && there.every((byte, i) => byte === library[i]);
  } catch {
    return false; // not there, or not ours to read: as good as another one
  }
}
