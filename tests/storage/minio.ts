/**
 * A real S3 server for tests: MinIO on one temporary directory. It starts slowly, so that one serves
 * all tests of a file, each below a prefix of its own.
 *
 * @module
 */

import type { S3Config } from "../../src/config/config.ts";
import { EMPTY_DIGEST } from "../../src/storage/s3/s3_signer.ts";
import { never } from "./contents.ts";
import { freePort, requestsTo, s3Config, toolBinary } from "./versitygw.ts";

/** The server's binary: MINIO_BIN, else what the test task has built; null when there is none. */
export function minioBinary(): string | null {
  return toolBinary("minio", "MINIO_BIN");
}

/** A running server with one empty bucket. */
export class MinioServer {
  readonly endpoint: string;
  readonly #dir: string;
  readonly #process: Deno.ChildProcess;

  private constructor(endpoint: string, dir: string, process: Deno.ChildProcess) {
    this.endpoint = endpoint;
    this.#dir = dir;
    this.#process = process;
  }

  static async start(binary: string): Promise<MinioServer> {
    const dir = await Deno.makeTempDir();
    const address = `127.0.0.1:${freePort()}`;
    const config = s3Config(`http://${address}`);
    const process = new Deno.Command(binary, {
      args: ["server", "--quiet", "--address", address, "--console-address", "127.0.0.1:0", dir],
      env: {
        MINIO_ROOT_USER: config.accessKey!,
        MINIO_ROOT_PASSWORD: config.secretKey!,
        MINIO_UPDATE: "off",
        // A key for SSE-S3 and SSE-KMS, made for these tests.
        MINIO_KMS_SECRET_KEY: "test-key:" + btoa("p4cache-tests-only-no-secret-kms"),
      },
      stdout: "null",
      stderr: "null",
    }).spawn();
    const server = new MinioServer(config.endpoint!, dir, process);
    await server.#createBucket(config);
    return server;
  }

  config(changes: Partial<S3Config> = {}): S3Config {
    return s3Config(this.endpoint, changes);
  }

  /** Uploads in parts that the server still holds. */
  leftovers(): string[] {
    const found: string[] = [];
    const walk = (dir: string) => {
      for (const entry of Deno.readDirSync(dir)) {
        if (entry.isDirectory) walk(`${dir}/${entry.name}`);
        else found.push(`${dir}/${entry.name}`);
      }
    };
    walk(`${this.#dir}/.minio.sys/multipart`);
    return found;
  }

  /** Ends it at once and removes what it kept; both are done when the call returns. */
  async end(): Promise<void> {
    this.#process.kill("SIGKILL");
    Deno.removeSync(this.#dir, { recursive: true });
    await this.#process.status;
  }

  /** Waits until the server answers. */
  async #createBucket(config: S3Config): Promise<void> {
    const { requests, close } = requestsTo(config);
    const request = { key: null, payloadDigest: EMPTY_DIGEST, doing: "create the bucket" };
    for (let tries = 0;; tries++) {
      try {
        await (await requests.send({ ...request, method: "PUT", signal: never })).cancel();
        break;
      } catch (error) {
        if (tries === 300) throw error;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    }
    close();
  }
}
