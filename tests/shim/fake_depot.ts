/**
 * A depot whose daemon is played by the test, and C programs to run under the shim in it.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { run, shimEnv, TempDir } from "../e2e/daemon_process.ts";
import { FakeDaemon } from "./fake_daemon.ts";

/** Builds a program of `tests/shim/c`. */
export async function buildProgram(
  name: string,
  out: string,
  flags: readonly string[] = [],
): Promise<void> {
  const source = new URL(`./c/${name}.c`, import.meta.url).pathname;
  const built = await run("gcc", [
    "-std=gnu11",
    "-w",
    ...flags,
    "-o",
    out,
    source,
    "-lpthread",
    "-ldl",
  ]);
  assertEquals(built.code, 0, built.stderr);
}

/** Where a test plays. */
export interface World {
  readonly dir: string;
  readonly depot: string;
  /** Environment under the shim. */
  readonly env: Record<string, string>;
  /** Runs a program of `tests/shim/c` with two arguments; its output. */
  play(
    program: string,
    what: string,
    path: string,
    env?: Record<string, string>,
  ): Promise<string>;
  probe(call: string, path: string, env?: Record<string, string>): Promise<string>;
  /** Runs a shell script under the shim in a directory; returns its output. */
  sh(script: string, cwd?: string, env?: Record<string, string>): Promise<string>;
}

/** Runs the test in a depot with one directory `d`. */
export async function withDepot(
  test: (world: World, daemon: FakeDaemon) => Promise<void>,
): Promise<void> {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`;
  Deno.mkdirSync(`${depot}/d`, { recursive: true });
  const socket = `${dir.path}/shim.sock`;
  const env = {
    ...shimEnv(depot),
    P4CACHE_SOCK: socket,
    P4CACHE_ACCESS_SOCK: `${dir.path}/access.sock`,
    P4CACHE_TIMEOUT: "20",
  };
  const built = new Map<string, Promise<void>>();
  const play: World["play"] = async (program, what, path, more = {}) => {
    const binary = `${dir.path}/${program}`;
    if (!built.has(program)) built.set(program, buildProgram(program, binary));
    await built.get(program);
    const outcome = await run(binary, [what, path], { env: { ...env, ...more } });
    return outcome.stdout.trim() || `ended with ${outcome.code}: ${outcome.stderr}`;
  };
  const world: World = {
    dir: dir.path,
    depot,
    env,
    play,
    probe: (call, path, more) => play("probe", call, path, more),
    sh: async (script, cwd = dir.path, more = {}) => {
      const outcome = await run("sh", ["-ec", script], { env: { ...env, ...more }, cwd });
      return outcome.stdout + outcome.stderr;
    },
  };
  await using daemon = new FakeDaemon(socket, depot);
  await test(world, daemon);
}
