/**
 * The file that names a Unix socket: its mode, and what is done when it is there already.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";

/**
 * Binds a socket so that at no instant its mode is wider than asked.
 * @param mode Permission bits of the socket's file.
 * @param bind Makes the socket; synchronous, since the umask is the whole process's.
 * @throws EnvironmentError when the socket cannot be made.
 */
export function bindSocket<T>(path: string, mode: number, bind: () => T): T {
  const umask = Deno.umask(0o177);
  try {
    const socket = bind();
    Deno.chmodSync(path, mode);
    return socket;
  } catch (error) {
    throw new EnvironmentError(`Cannot listen on ${path}: ${reasonOf(error)}`);
  } finally {
    Deno.umask(umask);
  }
}

/**
 * Removes the file of a socket whose owner is dead. Anything but a socket is left alone.
 * @throws EnvironmentError when something else is there, or it cannot be removed.
 */
export function removeSocket(path: string): void {
  try {
    if (!Deno.lstatSync(path).isSocket) throw new Error("something that is not a socket is there");
    Deno.removeSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return;
    throw new EnvironmentError(
      `Cannot take over ${path}: ${reasonOf(error)}; remove it by hand`,
    );
  }
}
