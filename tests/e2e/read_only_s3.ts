/**
 * An S3 server that lets nobody write, and notes every request: what a replica's key may do.
 *
 * @module
 */

/** See the module. Signatures are not looked at. */
export class ReadOnlyS3 implements AsyncDisposable {
  /** `METHOD /bucket/key?query`, in order. */
  readonly requests: string[] = [];
  /** By path: `/bucket/key`. */
  readonly objects = new Map<
    string,
    { readonly bytes: Uint8Array<ArrayBuffer>; version: number }
  >();
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  #version = 0;

  constructor() {
    const options = { port: 0, hostname: "127.0.0.1", onListen: () => {} };
    this.#server = Deno.serve(options, (request) => this.#answer(request));
  }

  get endpoint(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  put(path: string, content: string): void {
    const bytes = new TextEncoder().encode(content) as Uint8Array<ArrayBuffer>;
    this.objects.set(path, { bytes, version: ++this.#version });
  }

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    this.requests.push(`${request.method} ${url.pathname}${url.search}`);
    await request.body?.cancel();
    if (request.method !== "GET" && request.method !== "HEAD") return failure(403, "AccessDenied");
    const object = this.objects.get(decodeURIComponent(url.pathname));
    if (object === undefined) return failure(404, "NoSuchKey");
    const etag = `"${object.version}"`;
    if (request.headers.get("if-none-match") === etag) return new Response(null, { status: 304 });
    const size = object.bytes.length;
    const headers = new Headers({ etag, "accept-ranges": "bytes" });
    const range = /^bytes=(\d+)-(\d+)$/.exec(request.headers.get("range") ?? "");
    if (request.method === "HEAD" || range === null) {
      headers.set("content-length", String(size));
      return new Response(request.method === "HEAD" ? null : object.bytes, { headers });
    }
    const from = Number(range[1]), to = Math.min(Number(range[2]), size - 1);
    if (from >= size) return failure(416, "InvalidRange");
    headers.set("content-range", `bytes ${from}-${to}/${size}`);
    return new Response(object.bytes.slice(from, to + 1), { status: 206, headers });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function failure(status: number, code: string): Response {
  const body = `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${code}</Message></Error>`;
  return new Response(body, { status, headers: { "content-type": "application/xml" } });
}
