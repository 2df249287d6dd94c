/**
 * The socket to which the shim reports opened files: datagrams of newline-separated paths.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { pathFromBytes, pathProblem } from "../depot_path.ts";
import { bindSocket, removeSocket } from "./socket_file.ts";

const NO_BYTES = new Uint8Array(0);

/** Longest wait at the end for what was sent before, ms. */
const CLOSE_TIMEOUT_MS = 1_000;

/** A datagram of ours, after which nothing is waited for; no path. */
const LAST = new Uint8Array(1);

/** Takes valid depot paths, one character per byte; the next are received when it is done. */
export type OnAccess = (paths: string[]) => void | Promise<void>;

/** Receives until it is closed. */
export class AccessReceiver {
  readonly #socket: Deno.DatagramConn;
  readonly #path: string;
  readonly #receiving: Promise<void>;
  #closing = false;

  private constructor(
    socket: Deno.DatagramConn,
    path: string,
    onAccess: OnAccess,
  ) {
    this.#socket = socket;
    this.#path = path;
    this.#receiving = this.#receive(onAccess);
  }

  /**
   * Listens at a path; the daemon's lock makes sure that a socket there is a dead one's.
   * @param onAccess What it throws is dropped with the paths: an access only puts off an eviction,
   *   and the next one tells the same. While it takes its time the socket's queue fills, and the shims
   *   drop what has no room there.
   * @throws EnvironmentError when the socket cannot be made.
   */
  static listen(path: string, mode: number, onAccess: OnAccess): AccessReceiver {
    removeSocket(path);
    const socket = bindSocket(
      path,
      mode,
      () => Deno.listenDatagram({ transport: "unixpacket", path }),
    );
    return new AccessReceiver(socket, path, onAccess);
  }

  /** Takes what was sent before, and ends. */
  async close(): Promise<void> {
    this.#closing = true;
    let timer = 0;
    const late = new Promise((resolve) => timer = setTimeout(resolve, CLOSE_TIMEOUT_MS));
    // They come in the order in which they were sent (unix(7)).
    await Promise.race([this.#sendLast().then(() => this.#receiving, () => {}), late]);
    clearTimeout(timer);
    this.#socket.close();
    await this.#receiving;
    try {
      Deno.removeSync(this.#path);
    } catch {
      // Removed already.
    }
  }

  /** From a socket of its own: one that is received from cannot send. */
  async #sendLast(): Promise<void> {
    const from = `${this.#path}.last`;
    removeSocket(from);
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: from });
    try {
      Deno.removeSync(from);
      await socket.send(LAST, { transport: "unixpacket", path: this.#path });
    } finally {
      socket.close();
    }
  }

  async #receive(onAccess: OnAccess): Promise<void> {
    const buffer = new Uint8Array(65536);
    for (;;) {
      let bytes = NO_BYTES;
      try {
        [bytes] = await this.#socket.receive(buffer);
      } catch (error) {
        if (error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted) {
          return;
        }
        await delay(50);
        continue;
      }
      if (this.#closing && bytes.length === LAST.length && bytes[0] === LAST[0]) return;
      const paths = pathFromBytes(bytes).split("\n").filter((path) => pathProblem(path) === null);
      if (paths.length === 0) continue;
      try {
        await onAccess(paths);
      } catch {
        // See listen().
      }
    }
  }
}
