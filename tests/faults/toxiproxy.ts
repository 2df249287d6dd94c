/**
 * Toxiproxy: real connections to real servers, with faults that the test turns on and off.
 *
 * API: https://github.com/Shopify/toxiproxy#http-api
 *
 * @module
 */

import { freePort, toolBinary } from "../storage/versitygw.ts";

/** The program: TOXIPROXY_BIN, else what the test task has built; null when there is none. */
export function toxiproxyBinary(): string | null {
  return toolBinary("toxiproxy-server", "TOXIPROXY_BIN");
}

/** One fault of a connection. */
export interface Toxic {
  readonly type: string;
  /** Towards the server (`upstream`) or back (`downstream`). */
  readonly stream: "upstream" | "downstream";
  readonly attributes: Readonly<Record<string, number>>;
  /** Share of the connections that have it; 1 unless given. */
  readonly toxicity?: number;
}

/** A proxy in front of one server. */
export class Toxiproxy {
  readonly #child: Deno.ChildProcess;
  readonly #api: string;
  /** `host:port` to talk to in the server's place. */
  address = "";

  private constructor(child: Deno.ChildProcess, api: string) {
    this.#child = child;
    this.#api = api;
  }

  /** @param upstream The server, `host:port`. */
  static async start(binary: string, upstream: string): Promise<Toxiproxy> {
    const port = freePort();
    const child = new Deno.Command(binary, {
      args: ["-host", "127.0.0.1", "-port", String(port), "-seed", "1"],
      env: { LOG_LEVEL: "fatal" },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const proxy = new Toxiproxy(child, `http://127.0.0.1:${port}`);
    for (let tries = 0;; tries++) {
      try {
        const listen = `127.0.0.1:${freePort()}`;
        await proxy.#ask("/proxies", { name: "server", listen, upstream, enabled: true });
        proxy.address = listen;
        return proxy;
      } catch (error) {
        if (tries === 200) throw error;
        await new Promise((resolve) => setTimeout(resolve, 25));
      }
    }
  }

  /** Adds the faults to connections, those that are open too. */
  async add(toxics: readonly Toxic[]): Promise<void> {
    for (const toxic of toxics) {
      const name = `${toxic.type}-${toxic.stream}`;
      await this.#ask("/proxies/server/toxics", { name, toxicity: 1, ...toxic });
    }
  }

  /** Cuts every connection and takes none, until {@link heal}. */
  async cut(): Promise<void> {
    await this.#ask("/proxies/server", { enabled: false });
  }

  /** Removes all faults. */
  async heal(): Promise<void> {
    await this.#ask("/reset", {});
  }

  async end(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#child.status;
  }

  async #ask(path: string, body: unknown): Promise<void> {
    const answer = await fetch(this.#api + path, { method: "POST", body: JSON.stringify(body) });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`toxiproxy: ${path}: ${answer.status} ${text}`);
  }
}
