/**
 * Optional HTTP for monitoring and for looking at the daemon: reads only, no login, so by default for
 * this machine only (`http_listen`).
 *
 * @module
 */

import { isLocal, type ListenAddress } from "../config/listen_address.ts";
import { EnvironmentError, reasonOf } from "../errors.ts";
import { describeError } from "../observe/logging.ts";
import { bindSocket, removeSocket } from "./socket_file.ts";

/** Makes the answer to a GET. */
export type Page = () => Promise<Response> | Response;

/** Pages by path: `/health`, … */
export type Pages = Readonly<Record<string, Page>>;

/** The socket is for whoever may enter its directory and belongs to the daemon's group. */
const SOCKET_MODE = 0o660;

/**
 * Nothing is loaded from elsewhere, and nothing embeds us. Nobody keeps an answer: it is about now.
 */
const HEADERS: Readonly<Record<string, string>> = {
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; script-src 'unsafe-inline'; " +
    "style-src 'unsafe-inline'; img-src data:; connect-src 'self'; frame-ancestors 'none'",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
};

/** A name that a browser on this machine uses for it; see {@link HttpServer}. */
const LOCAL_HOST = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;

/**
 * Serves pages until it is closed. On a loopback address only requests that name a loopback host are
 * answered: a web page elsewhere, whose name is made to lead here, is not.
 */
export class HttpServer {
  readonly #server: Deno.HttpServer;
  /** Where it listens, for the log. */
  readonly url: string;

  private constructor(server: Deno.HttpServer, url: string) {
    this.#server = server;
    this.url = url;
  }

  /** @throws EnvironmentError when it cannot listen there. */
  static listen(address: ListenAddress, pages: Pages): HttpServer {
    const onListen = () => {};
    if (address.kind === "unix") {
      const { path } = address;
      removeSocket(path);
      const handler = (request: Request) => answer(request, pages);
      const serve = () => Deno.serve({ transport: "unix", path, onListen }, handler);
      return new HttpServer(bindSocket(path, SOCKET_MODE, serve), `unix:${path}`);
    }
    const { host, port } = address;
    const isOpen = !isLocal(address);
    const handler = (request: Request) =>
      isOpen || LOCAL_HOST.test(request.headers.get("host") ?? "")
        ? answer(request, pages)
        : new Response("Ask for this machine by localhost\n", { status: 421 });
    try {
      const server = Deno.serve({ hostname: host, port, onListen }, handler);
      const name = host.includes(":") ? `[${host}]` : host;
      return new HttpServer(server, `http://${name}:${server.addr.port}/`);
    } catch (error) {
      throw new EnvironmentError(
        `Cannot serve HTTP on ${host}:${port}: ${reasonOf(error)}; choose another http_listen`,
      );
    }
  }

  /** Ends; answers under way are still given. */
  async close(): Promise<void> {
    await this.#server.shutdown();
  }
}

async function answer(request: Request, pages: Pages): Promise<Response> {
  if (request.method !== "GET" && request.method !== "HEAD") {
    return new Response("Only GET is allowed\n", { status: 405, headers: { allow: "GET, HEAD" } });
  }
  const { pathname } = new URL(request.url);
  const page = Object.hasOwn(pages, pathname) ? pages[pathname] : undefined;
  if (page === undefined) {
    const known = Object.keys(pages).join(" ");
    return new Response(`There is no ${pathname}; there are ${known}\n`, { status: 404 });
  }
  try {
    const response = await page();
    for (const [name, value] of Object.entries(HEADERS)) response.headers.set(name, value);
    return response;
  } catch (error) {
    return new Response(`${describeError(error)}\n`, { status: 500 });
  }
}
