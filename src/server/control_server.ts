/**
 * The socket that the admin commands talk to: HTTP over `.p4cache/control.sock`, for root and the
 * daemon's own user only.
 *
 * `POST /<route>` with JSON parameters is answered with one JSON object a line: any number of
 * `{"progress": …}`, then `{"result": …}` or `{"error": "…"}`. A client that goes away ends its work.
 *
 * @module
 */

import { describeError } from "../observe/logging.ts";
import { bindSocket, removeSocket } from "./socket_file.ts";

/** Parameters of a request, as they came: each route checks its own. */
export type Parameters = Readonly<Record<string, unknown>>;

/**
 * What one route does. A generator's values are told as progress, what it returns is the result.
 * @throws Error whose text tells the user what is wrong.
 */
export type Route = (
  parameters: Parameters,
  signal: AbortSignal,
) => Promise<unknown> | AsyncGenerator<unknown, unknown, void>;

/** Routes by name: `status`, `flush`, … */
export type Routes = Readonly<Record<string, Route>>;

/** Longest request body, bytes: a command with more paths asks in pieces. */
export const MAX_BODY_BYTES = 4 * 1024 * 1024;

/** Only root and the owner may connect. */
const SOCKET_MODE = 0o600;

/** See the module's description. */
export class ControlServer {
  readonly #server: Deno.HttpServer;
  readonly #abort: AbortController;

  private constructor(server: Deno.HttpServer, abort: AbortController) {
    this.#server = server;
    this.#abort = abort;
  }

  /**
   * Listens at a path; the state directory's lock has shown that no other daemon does.
   * @throws EnvironmentError when the socket cannot be made.
   */
  static listen(path: string, routes: Routes): ControlServer {
    removeSocket(path);
    const abort = new AbortController();
    const handler = (request: Request) => answer(request, routes, abort.signal);
    const onListen = () => {};
    const server = bindSocket(
      path,
      SOCKET_MODE,
      () => Deno.serve({ transport: "unix", path, onListen }, handler),
    );
    return new ControlServer(server, abort);
  }

  /** Ends requests under way and removes the socket. */
  async close(): Promise<void> {
    this.#abort.abort(new Error("the daemon is stopping"));
    await this.#server.shutdown();
  }
}

async function answer(request: Request, routes: Routes, closing: AbortSignal): Promise<Response> {
  const name = new URL(request.url).pathname.slice(1);
  const route = Object.hasOwn(routes, name) ? routes[name] : undefined;
  if (route === undefined) {
    return refusal(404, `this daemon has no '${name}'; is it older than the command?`);
  }
  let parameters: Parameters;
  try {
    parameters = await readParameters(request);
  } catch (error) {
    return refusal(400, describeError(error));
  }
  const signal = AbortSignal.any([request.signal, closing]);
  const body = ReadableStream.from(lines(route, parameters, signal));
  return new Response(body.pipeThrough(new TextEncoderStream()), {
    headers: { "content-type": "application/x-ndjson" },
  });
}

async function readParameters(request: Request): Promise<Parameters> {
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) {
    throw new Error(`the request is too long; allowed are ${MAX_BODY_BYTES} bytes`);
  }
  const text = await request.text();
  const parameters: unknown = text === "" ? {} : JSON.parse(text);
  if (typeof parameters === "object" && parameters !== null && !Array.isArray(parameters)) {
    return parameters as Parameters;
  }
  throw new Error("the parameters are not a JSON object");
}

/** The answer's lines; the stream pulls them, so a slow reader slows the work, not the daemon. */
async function* lines(
  route: Route,
  parameters: Parameters,
  signal: AbortSignal,
): AsyncGenerator<string> {
  const line = (value: unknown) => JSON.stringify(value) + "\n";
  try {
    const running = route(parameters, signal);
    if (!(Symbol.asyncIterator in running)) {
      yield line({ result: await running });
      return;
    }
    for (;;) {
      const next = await running.next();
      if (next.done) {
        yield line({ result: next.value });
        return;
      }
      yield line({ progress: next.value });
    }
  } catch (error) {
    yield line({ error: describeError(error) });
  }
}

function refusal(status: number, why: string): Response {
  return Response.json({ error: why }, { status });
}
