/**
 * Where HTTP is served, as people write it: `127.0.0.1:9180`, `[::1]:9180`, `localhost:9180`,
 * `unix:/run/p4-cache/http.sock`.
 *
 * @module
 */

/** A TCP port, or the path of a Unix socket. */
export type ListenAddress =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly path: string };

/** Reads the text; null when it is no such address. Port 0 lets the system choose. */
export function parseListenAddress(text: string): ListenAddress | null {
  const path = /^unix:(\/.*)$/s.exec(text)?.[1];
  if (path !== undefined) return { kind: "unix", path };
  const parts = /^(?:\[([0-9a-f:.]+)\]|([^\s:/[\]]+)):(\d{1,5})$/i.exec(text);
  if (parts === null) return null;
  const port = Number(parts[3]);
  return port > 65_535 ? null : { kind: "tcp", host: (parts[1] ?? parts[2])!, port };
}

/** Whether only this machine reaches it. A name other than localhost may be anybody's. */
export function isLocal(address: ListenAddress): boolean {
  if (address.kind === "unix") return true;
  return /^(127(\.\d{1,3}){3}|::1|localhost)$/i.test(address.host);
}
