/**
 * Releases to install from, and the installer run against them.
 *
 * @module
 */

import { encodeHex } from "deno-std/encoding/mod.js";
import project from "../../deno.json" with { type: "json" };
import { type Outcome, run } from "../e2e/daemon_process.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

export const VERSION: string = project.version;
export const INSTALLER = `${ROOT}install.sh`;

/** Name of the program in a release. */
export function binaryName(version: string): string {
  return `p4-cache-${version}-linux-${Deno.build.arch}`;
}

/** Makes `build/release/` of the binary that is there, and returns its folder. */
export async function makeRelease(): Promise<string> {
  const made = await run(Deno.execPath(), ["run", "-A", "src/build/release.ts"], { cwd: ROOT });
  if (made.code !== 0) throw new Error(made.stderr);
  return `${ROOT}build/release`;
}

/**
 * A copy of a release with another program in it: a script of a few bytes instead of 90 MB.
 * @param folder Where to: the files lie in `v<version>` below.
 * @returns the folder of the files.
 */
export async function scriptRelease(
  release: string,
  folder: string,
  version: string,
  script: string,
): Promise<string> {
  const target = `${folder}/v${version}`;
  Deno.mkdirSync(target, { recursive: true });
  for (const { name } of Deno.readDirSync(release)) {
    if (name === binaryName(VERSION) || name === "SHA256SUMS") continue;
    Deno.copyFileSync(`${release}/${name}`, `${target}/${name.replace(VERSION, version)}`);
  }
  Deno.writeTextFileSync(`${target}/${binaryName(version)}`, script, { mode: 0o755 });
  await sumUp(target);
  return target;
}

/** Writes SHA256SUMS anew. */
export async function sumUp(folder: string): Promise<void> {
  const names = Array.from(Deno.readDirSync(folder), (entry) => entry.name);
  let sums = "";
  for (const name of names.filter((name) => !name.startsWith("SHA256SUMS"))) {
    const digest = await crypto.subtle.digest("SHA-256", Deno.readFileSync(`${folder}/${name}`));
    sums += `${encodeHex(digest)}  ${name}\n`;
  }
  Deno.writeTextFileSync(`${folder}/SHA256SUMS`, sums);
}

/** Serves a folder on a free port of loopback. */
export class ReleaseServer {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  /** Names that were asked for. */
  readonly asked: string[] = [];

  /** @param change What is sent instead of a file's bytes. */
  constructor(folder: string, change: (name: string, bytes: Uint8Array) => BodyInit = same) {
    this.#server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
      const path = decodeURIComponent(new URL(request.url).pathname);
      this.asked.push(path.slice(path.lastIndexOf("/") + 1));
      try {
        return new Response(change(path, Deno.readFileSync(folder + path)));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
        return new Response("no such file\n", { status: 404 });
      }
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

function same(_: string, bytes: Uint8Array): BodyInit {
  return bytes as Uint8Array<ArrayBuffer>;
}

/** Runs the installer as `curl … | sh -s -- FLAGS` does. */
export function pipeInstaller(flags: string[], env: Record<string, string>): Promise<Outcome> {
  const line = `sh -s -- "$@" < ${INSTALLER}`;
  return run("setsid", ["sh", "-c", line, "sh", ...flags], { env });
}

/** What lies below a directory: path → mode and content, or the link's target. */
export function tree(dir: string, prefix = ""): Map<string, string> {
  const found = new Map<string, string>();
  for (const { name, isDirectory, isSymlink } of Deno.readDirSync(`${dir}/${prefix}`)) {
    const path = prefix + name, full = `${dir}/${path}`;
    if (isSymlink) {
      found.set(path, `link to ${Deno.readLinkSync(full)}`);
    } else if (isDirectory) {
      for (const [below, what] of tree(dir, path + "/")) found.set(below, what);
    } else {
      const mode = (Deno.statSync(full).mode! & 0o7777).toString(8);
      found.set(path, `${mode} ${Deno.readTextFileSync(full)}`);
    }
  }
  return found;
}
