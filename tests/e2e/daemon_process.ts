/**
 * Starts the compiled daemon on a depot and talks to it as p4d's machine would.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url).pathname;

/** The binary and the preload library as `deno task build` leaves them. */
export const BINARY = `${ROOT}build/p4-cache`;
export const SHIM = `${ROOT}build/libp4shim.so`;

/** Longest wait for something that is expected to happen, ms. */
const PATIENCE_MS = 60_000;

/** Waits until the condition holds. @throws Error saying what did not happen. */
export async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
  const deadline = Date.now() + PATIENCE_MS;
  while (!await holds()) {
    if (Date.now() > deadline) throw new Error(`Did not happen: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** A temporary directory on a real filesystem, or another one; removed at the end of the scope. */
export class TempDir {
  readonly path: string;

  constructor(parent = "/var/tmp") {
    this.path = Deno.realPathSync(Deno.makeTempDirSync({ dir: parent, prefix: "p4cache-" }));
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

/** A depot, and an archive directory that is its storage. */
export interface Places {
  readonly depot: string;
  readonly store: string;
  /** The flags that say so. */
  readonly storage: readonly string[];
}

/** Makes both, empty, in a directory. */
export function makePlaces(dir: string): Places {
  const depot = `${dir}/depot`, store = `${dir}/store`;
  for (const path of [depot, store]) Deno.mkdirSync(path);
  return { depot, store, storage: ["--primary-type", "nfs", "--primary-path", store] };
}

/** A running daemon. */
export class DaemonProcess {
  readonly #child: Deno.ChildProcess;
  readonly depot: string;
  readonly logPath: string;

  private constructor(child: Deno.ChildProcess, depot: string, logPath: string) {
    this.#child = child;
    this.depot = depot;
    this.logPath = logPath;
  }

  /**
   * Starts the daemon and waits until it answers.
   * @param through A program and its arguments that runs it.
   */
  static async start(
    depot: string,
    args: readonly string[],
    through: readonly string[] = [],
  ): Promise<DaemonProcess> {
    const logPath = `${depot}.log`;
    const [program, ...rest] = [...through, BINARY];
    const child = new Deno.Command(program!, {
      args: [...rest, "--depot-path", depot, "--log-file", logPath, ...args],
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
    const daemon = new DaemonProcess(child, depot, logPath);
    let ended = false;
    void child.status.then(() => ended = true);
    await until("the daemon answers", async () => {
      if (ended) throw new Error(`The daemon ended: ${daemon.log()}`);
      return await daemon.fetch("no/such/file").catch(() => "") === "NOTFOUND";
    });
    return daemon;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Memory of its own, without pages of files, MiB. */
  get anonymousMib(): number {
    const status = Deno.readTextFileSync(`/proc/${this.pid}/status`);
    return Number(/RssAnon:\s+(\d+) kB/.exec(status)![1]) / 1024;
  }

  /** Resolves when the process ended. */
  get ended(): Promise<unknown> {
    return this.#child.status;
  }

  log(): string {
    return Deno.readTextFileSync(this.logPath);
  }

  /** Sends one request line and returns the answer without its newline. */
  async fetch(path: string): Promise<string> {
    const socket = `${this.depot}/.p4cache/shim.sock`;
    using conn = await Deno.connect({ transport: "unix", path: socket });
    await conn.write(new TextEncoder().encode(`FETCH ${path}\n`));
    const buffer = new Uint8Array(1024);
    const n = await conn.read(buffer);
    return new TextDecoder().decode(buffer.subarray(0, n ?? 0)).trimEnd();
  }

  /** SIGTERM; returns the exit code. */
  async stop(): Promise<number> {
    this.#child.kill("SIGTERM");
    return (await this.#child.status).code;
  }

  /** SIGKILL, as a crash. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.kill();
    } catch {
      // Ended already.
    }
  }
}

/** What a program printed, and how it ended. */
export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  /** The same as {@link stdout}, as bytes. */
  readonly bytes: Uint8Array;
}

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: Omit<Deno.CommandOptions, "args"> = {},
): Promise<Outcome> {
  const output = await new Deno.Command(command, { args: [...args], stdin: "null", ...options })
    .output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  return {
    code: output.code,
    stdout: text(output.stdout),
    stderr: text(output.stderr),
    bytes: output.stdout,
  };
}

/** Environment of a program that runs under the shim, as p4d does. */
export function shimEnv(depot: string): Record<string, string> {
  return { LD_PRELOAD: SHIM, P4CACHE_DEPOT: depot };
}

/** Whether a program is installed. */
export function hasProgram(name: string): boolean {
  const places = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  return places.some((dir) => {
    try {
      return Deno.statSync(`${dir}/${name}`).isFile;
    } catch {
      return false;
    }
  });
}

/** Whether this process may use fanotify; says so once where it may not. */
export function mayWatch(): boolean {
  const effective = /CapEff:\s*([0-9a-f]+)/.exec(Deno.readTextFileSync("/proc/self/status"))![1]!;
  const CAP_SYS_ADMIN = 21n;
  return (BigInt("0x" + effective) >> CAP_SYS_ADMIN & 1n) === 1n;
}

/** The files below a directory, without the state directory: name relative to it → bytes. */
export function filesBelow(dir: string, prefix = ""): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const entry of Deno.readDirSync(dir + "/" + prefix)) {
    const name = prefix + entry.name;
    if (name.startsWith(".p4cache")) continue;
    if (entry.isDirectory) {
      for (const [below, bytes] of filesBelow(dir, name + "/")) found.set(below, bytes);
    } else {
      try {
        found.set(name, Deno.readFileSync(`${dir}/${name}`));
      } catch (error) {
        // Evicted between the listing and the read.
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }
  }
  return found;
}
