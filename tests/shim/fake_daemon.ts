/**
 * A daemon made of a map: answers on a socket as it is told, and remembers what it was asked.
 *
 * @module
 */

/** What is said about a path: its content (put in the depot), or a whole answer line. */
export type Answer = { readonly content: string } | { readonly line: string };

/** Listens until the end of its scope. */
export class FakeDaemon {
  readonly #listener: Deno.Listener<Deno.UnixConn>;
  readonly #depot: string;
  readonly #socket: string;
  readonly #serving: Promise<void>;
  #stopped = false;
  /** Everything that may be restored; what is not in it is absent. */
  readonly store = new Map<string, Answer>();
  /** The requests, without `FETCH ` and the newline. */
  readonly asked: string[] = [];

  constructor(socket: string, depot: string) {
    this.#depot = depot;
    this.#socket = socket;
    this.#listener = Deno.listen({ transport: "unix", path: socket });
    this.#serving = this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) void this.#answer(conn).catch(() => {});
  }

  async #answer(conn: Deno.Conn): Promise<void> {
    using _closed = conn;
    const buffer = new Uint8Array(8192);
    const n = await conn.read(buffer);
    const request = new TextDecoder().decode(buffer.subarray(0, n ?? 0));
    const path = /^FETCH (.*)\n$/.exec(request)?.[1];
    if (path === undefined) throw new Error(`Not a request: ${request}`);
    this.asked.push(path);
    await conn.write(new TextEncoder().encode(this.#say(path) + "\n"));
  }

  #say(path: string): string {
    const answer = this.store.get(path);
    if (answer === undefined) return "NOTFOUND";
    if ("line" in answer) return answer.line;
    Deno.writeTextFileSync(`${this.#depot}/${path}`, answer.content);
    return `OK ${answer.content.length}`;
  }

  /** Ends as a daemon does that is stopped. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#listener.close();
    await this.#serving;
    Deno.removeSync(this.#socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
