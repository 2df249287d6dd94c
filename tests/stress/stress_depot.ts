/**
 * A depot that is far too small, a plain directory, and worker programs that do the same to both
 * (`c/worker.c`).
 *
 * @module
 */

import { filesBelow, run, SHIM } from "../e2e/daemon_process.ts";
import type { FaultyStorage } from "./faulty_storage.ts";

/** Longest time that a worker may take for one round, ms; then it hangs. */
const PATIENCE_MS = 300_000;

/** Bytes that the cache keeps: a fraction of what the workers write. */
const WATERMARK_BYTES = 400_000;

/** Compiles a program of this folder. @throws Error with what the compiler says. */
export async function compile(name: string, dir: string): Promise<string> {
  const source = new URL(`./c/${name}.c`, import.meta.url).pathname;
  const program = `${dir}/${name}`;
  const flags = ["-O2", "-std=gnu11", "-Wall", "-Wextra", "-Werror", "-pthread"];
  const built = await run("gcc", [...flags, "-o", program, source]);
  if (built.code !== 0) throw new Error(built.stderr);
  return program;
}

/** See the module. Made below an existing directory. */
export class StressDepot {
  readonly depot: string;
  readonly plain: string;
  readonly store: string;
  /** Arguments for the daemon. */
  readonly args: readonly string[];
  readonly #locks: string;
  readonly #worker: string;
  /** What the workers are told besides. */
  readonly #manners: readonly string[];

  private constructor(dir: string, worker: string, storage: FaultyStorage | null, stormy: boolean) {
    this.depot = `${dir}/depot`;
    this.plain = `${dir}/plain`;
    this.store = storage?.store ?? `${dir}/store`;
    this.#locks = `${dir}/locks`;
    this.#worker = worker;
    this.#manners = stormy ? ["patient"] : [];
    for (const path of [this.depot, this.plain, this.#locks]) Deno.mkdirSync(path);
    if (storage === null) Deno.mkdirSync(this.store);
    const sizes = ["--max-cache-bytes", "--low-watermark-bytes"];
    const [most, low] = [2 * WATERMARK_BYTES, WATERMARK_BYTES];
    this.args = [
      ...(storage?.args ?? ["--primary-type", "nfs", "--primary-path", this.store]),
      ...[sizes[0]!, String(most), sizes[1]!, String(low)],
    ];
  }

  /**
   * @param storage The daemon's storage; null: a directory.
   * @param stormy Whether it may be away so long that calls fail.
   */
  static async make(
    dir: string,
    storage: FaultyStorage | null = null,
    stormy = false,
  ): Promise<StressDepot> {
    return new StressDepot(dir, await compile("worker", dir), storage, stormy);
  }

  /**
   * Starts workers w0, w1 …; every second one runs under the preload library.
   * @param keep Whether every name stays once it is there.
   */
  workers(seed: number, count: number, keep = false): Worker[] {
    const isShimmed = (i: number) => i % 2 === 0;
    for (const dir of [this.depot, this.plain]) {
      Deno.mkdirSync(`${dir}/shared`);
      for (let i = 0; i < count; i++) Deno.mkdirSync(`${dir}/w${i}`);
    }
    return Array.from({ length: count }, (_, i) =>
      new Worker(
        this.#worker,
        [
          ...[String(seed), `w${i}`, this.depot, this.plain, this.#locks],
          ...(keep ? ["keep"] : []),
          ...this.#manners,
        ],
        isShimmed(i) ? this.#shimEnv() : {},
      ));
  }

  /** How many files are only in the storage. */
  evicted(): number {
    const here = filesBelow(this.depot);
    return [...filesBelow(this.plain).keys()].filter((name) => !here.has(name)).length;
  }

  /** Compares everything, through the preload library. @throws Error with what differs. */
  async verify(): Promise<void> {
    const args = ["verify", this.depot, this.plain, ...this.#manners];
    const { code, stdout, stderr } = await run(this.#worker, args, { env: this.#shimEnv() });
    if (code !== 0) throw new Error(`${stdout}${stderr} (${code})`);
  }

  #shimEnv(): Record<string, string> {
    return { LD_PRELOAD: SHIM, P4CACHE_DEPOT: this.depot, P4CACHE_NEGATIVE_TTL: "0" };
  }
}

/** A worker program. */
export class Worker {
  readonly #child: Deno.ChildProcess;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;

  constructor(program: string, args: string[], env: Record<string, string>) {
    const streams = { stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    this.#child = new Deno.Command(program, { args, env, ...streams }).spawn();
    this.#reader = this.#child.stdout.getReader();
    this.#writer = this.#child.stdin.getWriter();
  }

  /** Does so many operations. @throws Error with what differs from the plain directory. */
  async work(operations: number): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(`${operations}\n`));
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), PATIENCE_MS);
    const { value } = await this.#reader.read();
    clearTimeout(timer);
    const answer = new TextDecoder().decode(value);
    if (answer !== "done\n") throw new Error(answer === "" ? "A worker died or hung" : answer);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close().catch(() => {});
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // Ended already.
    }
    await this.#reader.cancel();
    await this.#child.status;
  }
}
