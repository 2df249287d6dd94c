/**
 * An S3 server behind a network that is slow and breaks connections, in the middle of bodies too: seldom
 * enough that the daemon's retries succeed, so that no program may notice.
 *
 * @module
 */

import { KINDS } from "../faults/servers.ts";
import { type Toxic, Toxiproxy, toxiproxyBinary } from "../faults/toxiproxy.ts";

/** Of every connection, and of a share of them. */
const TOXICS: readonly Toxic[] = [
  { type: "latency", stream: "downstream", attributes: { latency: 3, jitter: 3 } },
  { type: "slicer", stream: "upstream", attributes: { average_size: 2000, size_variation: 1000 } },
  { type: "limit_data", stream: "downstream", attributes: { bytes: 9_000 }, toxicity: 0.5 },
  { type: "limit_data", stream: "upstream", attributes: { bytes: 15_000 }, toxicity: 0.4 },
];

const s3 = KINDS.find(({ name }) => name === "s3")!;

/** Why there can be none here; null when there can. */
export const faultyStorageMissing: string | null = toxiproxyBinary() === null
  ? "no toxiproxy-server"
  : s3.missing;

/** See the module. */
export class FaultyStorage {
  readonly #end: () => Promise<void>;
  /** Arguments of the daemon that name it. */
  readonly args: readonly string[];

  private constructor(args: readonly string[], end: () => Promise<void>) {
    this.args = args;
    this.#end = end;
  }

  static async start(): Promise<FaultyStorage> {
    const server = await s3.start();
    const proxy = await Toxiproxy.start(toxiproxyBinary()!, server.address);
    await proxy.add(TOXICS);
    const { endpoint, bucket, access_key, secret_key } = server.document(proxy.address);
    const named = {
      type: "s3",
      endpoint,
      bucket,
      "access-key": access_key,
      "secret-key": secret_key,
    };
    const args = Object.entries(named).flatMap((
      [name, value],
    ) => [`--primary-${name}`, `${value}`]);
    return new FaultyStorage(args, async () => {
      await proxy.end();
      await server.end();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end();
  }
}
