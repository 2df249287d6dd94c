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
  readonly #upstream: string;
  /** Which of the proxies at the address takes connections; null: none. */
  #open: string | null = "server";
  /** `host:port` to talk to in the server's place. */
  address = "";

  private constructor(child: Deno.ChildProcess, api: string, upstream: string) {
    this.#child = child;
    this.#api = api;
    this.#upstream = upstream;
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
    const proxy = new Toxiproxy(child, `http://127.0.0.1:${port}`, upstream);
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
  async add(toxics: readonly Toxic[], proxy = "server"): Promise<void> {
    for (const toxic of toxics) {
      const name = `${toxic.type}-${toxic.stream}`;
      await this.#ask(`/proxies/${proxy}/toxics`, { name, toxicity: 1, ...toxic });
    }
  }

  /** Makes another proxy at the same address, with these faults, for {@link turnTo}. */
  async prepare(name: string, toxics: readonly Toxic[]): Promise<void> {
    const place = { listen: this.address, upstream: this.#upstream };
    await this.#ask("/proxies", { name, ...place, enabled: false });
    await this.add(toxics, name);
  }

  /**
   * Ends all connections, and takes new ones at that proxy only ("server": the first one; null: nowhere).
   * To take faults away from connections that are busy is more than Toxiproxy can do again and again.
   */
  async turnTo(name: string | null): Promise<void> {
    if (this.#open !== null) await this.#ask(`/proxies/${this.#open}`, { enabled: false });
    this.#open = null;
    if (name !== null) await this.#ask(`/proxies/${name}`, { enabled: true });
    this.#open = name;
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
