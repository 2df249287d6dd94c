/**
 * A daemon made of a map: answers on a socket as it is told, and remembers what it was asked.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";

/** What is said about a path: its content (put in the depot), or a whole answer line. */
export type Answer =
  & ({ readonly content: string; readonly mode?: number } | { readonly line: string })
  & { readonly afterMs?: number };

/** How it differs from ours. */
export interface FakeOptions {
  /**
   * As an older one: knows FETCH only, and answers one request a connection. To other words it says
   * ERROR, or just hangs up.
   */
  readonly old?: "refuses" | "hangs up";
}

/** Listens until the end of its scope. */
export class FakeDaemon {
  readonly #listener: Deno.Listener<Deno.UnixConn>;
  readonly #depot: string;
  readonly #socket: string;
  readonly #old: FakeOptions["old"];
  readonly #serving: Promise<void>;
  readonly #conns = new Set<Deno.Conn>();
  readonly #ended = new AbortController();
  /** Everything that may be restored; what is not in it is absent. */
  readonly store = new Map<string, Answer>();
  /** The paths that were fetched; other requests with their first word. */
  readonly asked: string[] = [];
  /** Connections that were made. */
  connections = 0;

  constructor(socket: string, depot: string, options: FakeOptions = {}) {
    this.#depot = depot;
    this.#socket = socket;
    this.#old = options.old;
    this.#listener = Deno.listen({ transport: "unix", path: socket });
    this.#serving = this.#serve();
  }

  async #serve(): Promise<void> {
    for await (const conn of this.#listener) {
      this.connections++;
      void this.#answerAll(conn).catch(() => {}).finally(() => this.#end(conn));
    }
  }

  async #answerAll(conn: Deno.Conn): Promise<void> {
    this.#conns.add(conn);
    const buffer = new Uint8Array(8192);
    let text = "";
    for (let n; (n = await conn.read(buffer)) !== null;) {
      text += new TextDecoder().decode(buffer.subarray(0, n));
      for (let at; (at = text.indexOf("\n")) >= 0; text = text.slice(at + 1)) {
        await this.#answer(conn, text.slice(0, at));
        if (this.#old) return;
      }
    }
  }

  async #answer(conn: Deno.Conn, request: string): Promise<void> {
    const [, verb, path] = /^([A-Z]+) (.*)$/.exec(request) ?? [];
    if (path === undefined) throw new Error(`Not a request: ${request}`);
    this.asked.push(verb === "FETCH" ? path : request);
    const afterMs = this.store.get(path)?.afterMs ?? 0;
    if (afterMs > 0) await delay(afterMs, { signal: this.#ended.signal });
    if (this.#old === "hangs up" && verb !== "FETCH") return;
    await conn.write(new TextEncoder().encode(this.#say(verb!, path) + "\n"));
  }

  #say(verb: string, path: string): string {
    if (this.#old && verb !== "FETCH") return "ERROR bad request";
    const answer = this.store.get(path);
    switch (verb) {
      case "LIST":
        return this.#list(path === "." ? "" : path + "/");
      case "DROPPED":
        return "OK 0";
    }
    if (answer === undefined) return "NOTFOUND";
    if ("line" in answer) return answer.line;
    if (verb === "UNLINK") {
      this.store.delete(path);
      return "OK 0";
    }
    const whole = `${this.#socket}.whole`;
    Deno.writeTextFileSync(whole, answer.content, { mode: answer.mode ?? 0o644 });
    try {
      Deno.linkSync(whole, `${this.#depot}/${path}`);
    } catch (error) {
      if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
    } finally {
      Deno.removeSync(whole);
    }
    return `OK ${answer.content.length}`;
  }

  #list(prefix: string): string {
    const names = new Set<string>();
    for (const path of this.store.keys()) {
      if (!path.startsWith(prefix)) continue;
      const rest = path.slice(prefix.length);
      names.add(rest.includes("/") ? `d ${rest.split("/", 1)[0]}` : `f ${rest}`);
    }
    return [...names, "END"].join("\n");
  }

  #end(conn: Deno.Conn): void {
    this.#conns.delete(conn);
    try {
      conn.close();
    } catch {
      // Closed by stop().
    }
  }

  /** Ends as a daemon does that is stopped. */
  async stop(): Promise<void> {
    if (this.#ended.signal.aborted) return;
    this.#ended.abort();
    this.#listener.close();
    for (const conn of this.#conns) this.#end(conn);
    await this.#serving;
    Deno.removeSync(this.#socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
