/**
 * An S3 server behind a network that is slow and breaks connections, in the middle of bodies too.
 *
 * At first that is seldom enough that the daemon's retries succeed, nearly always. In a
 * {@link FaultyStorage.storm} it is not. Calls that fail with EIO are made again by the programs.
 *
 * @module
 */

import { type Toxic, Toxiproxy, toxiproxyBinary } from "../faults/toxiproxy.ts";
import type { Random } from "../sim/random.ts";
import { BUCKET, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";

/** Of every connection, and of a share of them. */
const STEADY: readonly Toxic[] = [
  { type: "limit_data", stream: "downstream", attributes: { bytes: 9_000 }, toxicity: 0.5 },
  { type: "limit_data", stream: "upstream", attributes: { bytes: 15_000 }, toxicity: 0.4 },
  { type: "latency", stream: "downstream", attributes: { latency: 3, jitter: 3 } },
  { type: "slicer", stream: "upstream", attributes: { average_size: 2000, size_variation: 1000 } },
];

/** What a storm is made of, in turns with the steady one. */
const WEATHERS: Readonly<Record<string, readonly Toxic[]>> = {
  slow: [{ type: "latency", stream: "upstream", attributes: { latency: 60, jitter: 60 } }],
  cutting: [
    { type: "limit_data", stream: "upstream", attributes: { bytes: 3_000 }, toxicity: 0.6 },
    { type: "limit_data", stream: "downstream", attributes: { bytes: 2_000 }, toxicity: 0.6 },
  ],
  resetting: [
    { type: "reset_peer", stream: "downstream", attributes: { timeout: 20 }, toxicity: 0.5 },
  ],
  // The request may have been carried out; its answer does not come.
  silent: [{ type: "timeout", stream: "downstream", attributes: { timeout: 150 }, toxicity: 0.5 }],
};

/** The storage is away. */
const AWAY = null;

/** How long one of them lasts, ms. */
const SHORTEST_MS = 50, LONGEST_MS = 400;

/** Where the objects of a depot with this name lie below the server's directory. */
const PREFIX = `${BUCKET}/depot`;

/** Why there can be none here; null when there can. */
export const faultyStorageMissing: string | null = toxiproxyBinary() === null
  ? "no toxiproxy-server"
  : versitygwBinary() === null
  ? "no versitygw"
  : null;

/** See the module. For a depot whose directory is named `depot`. */
export class FaultyStorage {
  readonly #proxy: Toxiproxy;
  readonly #endServer: () => Promise<void>;
  #storm: Promise<void> = Promise.resolve();
  #isStormy = false;
  /** Directory in which each object is a file, under the depot's path. */
  readonly store: string;
  /** Arguments of the daemon that name it. */
  readonly args: readonly string[];

  private constructor(
    proxy: Toxiproxy,
    endServer: () => Promise<void>,
    store: string,
    args: readonly string[],
  ) {
    this.#proxy = proxy;
    this.#endServer = endServer;
    this.store = store;
    this.args = args;
  }

  static async start(): Promise<FaultyStorage> {
    const server = await startVersitygw(versitygwBinary()!);
    const proxy = await Toxiproxy.start(toxiproxyBinary()!, new URL(server.endpoint).host);
    await proxy.add(STEADY);
    for (const [name, toxics] of Object.entries(WEATHERS)) await proxy.prepare(name, toxics);
    const { bucket, accessKey, secretKey } = server.config();
    const endpoint = `http://${proxy.address}`;
    const args = [
      ...["--primary-type", "s3", "--primary-endpoint", endpoint, "--primary-bucket", bucket],
      ...["--primary-access-key", accessKey!, "--primary-secret-key", secretKey!],
    ];
    return new FaultyStorage(proxy, server.end, `${server.dir}/${PREFIX}`, args);
  }

  /** The network changes again and again, from now on until {@link calm}. */
  storm(random: Random): void {
    this.#isStormy = true;
    this.#storm = this.#blow(random);
  }

  async #blow(random: Random): Promise<void> {
    const names = Object.keys(WEATHERS);
    for (let i = 0; this.#isStormy; i++) {
      // Were it always bad, the daemon would ask more and more seldom.
      await this.#proxy.turnTo(i % 2 === 0 ? random.pick([...names, AWAY]) : "server");
      const ms = SHORTEST_MS + random.below(LONGEST_MS - SHORTEST_MS);
      await new Promise((resolve) => setTimeout(resolve, ms));
    }
  }

  /** Ends a storm: from now on only what retries make up for. */
  async calm(): Promise<void> {
    this.#isStormy = false;
    await this.#storm;
    await this.#proxy.turnTo("server");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.calm();
    await this.#proxy.end();
    await this.#endServer();
  }
}
