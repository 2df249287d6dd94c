/**
 * Reaches a TLS server whose certificate cannot be verified, where the operator says so.
 *
 * `Deno.HttpClient` always verifies. So the client speaks plain HTTP to a socket in a private
 * directory (0700), and what comes there goes on over `node:tls`, which can be told not to verify.
 * It is slower than the direct way, and meant for test servers only.
 *
 * @module
 */

import { connect } from "node:tls";
import { createServer, isIP, type Server, type Socket } from "node:net";

/** A way to one server. */
export interface Bridge {
  /** Unix socket that leads there. */
  readonly socketPath: string;
  close(): Promise<void>;
}

/** Opens a bridge to the server of an `https:` origin. */
export async function openUnverifiedBridge(origin: URL): Promise<Bridge> {
  const dir = await Deno.makeTempDir({ prefix: "p4cache-" });
  const socketPath = `${dir}/tls.sock`;
  const host = origin.hostname.replace(/^\[|\]$/g, "");
  const port = Number(origin.port || 443);
  const open = new Set<Socket>();
  const server: Server = createServer((near) => {
    const far = connect({
      host,
      port,
      rejectUnauthorized: false,
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    for (const [socket, other] of [[near, far], [far, near]] as const) {
      open.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        open.delete(socket);
        other.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(socketPath, resolve);
  });
  return {
    socketPath,
    async close() {
      for (const socket of open) socket.destroy();
      // On Deno 2.4 its callback never comes once a socket was open, and by a timer without one.
      server.close();
      await new Promise((resolve) => setTimeout(resolve));
      await Deno.remove(dir, { recursive: true });
    },
  };
}
