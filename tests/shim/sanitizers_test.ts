/**
 * The library under the compiler's sanitizers: the same scenarios, each access checked.
 *
 * The library is built with the sanitizer and preloaded after the sanitizer's own, into programs built
 * with it, too. The daemon is played by the test.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { run } from "../e2e/daemon_process.ts";
import { buildProgram, withDepot } from "./fake_depot.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

interface Sanitizer {
  readonly flags: string;
  /** The library that has to be loaded first. */
  readonly runtime: string;
  readonly env: Record<string, string>;
}

const SANITIZERS: Readonly<Record<string, Sanitizer>> = {
  "addresses and undefined behaviour": {
    flags: "-fsanitize=address,undefined -fno-sanitize-recover=all",
    runtime: "libasan.so",
    // What a program leaves to its end is not the library's leak.
    env: { ASAN_OPTIONS: "detect_leaks=0", UBSAN_OPTIONS: "print_stacktrace=1" },
  },
  "races between threads": {
    flags: "-fsanitize=thread",
    runtime: "libtsan.so",
    // To name functions it would open files, which the library sees while the report is made.
    env: { TSAN_OPTIONS: "exitcode=66:symbolize=0" },
  },
};

/** What the storm does under both; vfork, cancelled threads and tiny stacks are not for sanitized programs. */
const SCENARIOS = ["threads", "signals", "closing", "spawned"];

for (const [name, { flags, runtime, env }] of Object.entries(SANITIZERS)) {
  Deno.test(`the library is clean of wrong ${name}`, () =>
    withDepot(async ({ dir, depot, env: shim }, daemon) => {
      const where = (await run("gcc", [`-print-file-name=${runtime}`])).stdout.trim();
      const built = await run("make", [
        "--quiet",
        "-C",
        `${ROOT}shim`,
        "preload",
        `OUT=${dir}`,
        `CFLAGS=-O1 -g ${flags}`,
        "SMALL_FRAMES=",
      ]);
      assertEquals(built.code, 0, built.stderr);
      for (const program of ["storm", "list", "opens"]) {
        await buildProgram(program, `${dir}/${program}`, ["-O1", "-g", ...flags.split(" ")]);
      }
      const preload = { ...shim, ...env, LD_PRELOAD: `${where}:${dir}/libp4shim.so` };
      // The address space must be as the sanitizers expect it.
      const play = async (program: string, args: string[], more = {}) => {
        const command = ["-R", "timeout", "100", `${dir}/${program}`, ...args];
        const outcome = await run("setarch", command, { env: { ...preload, ...more } });
        return outcome.code === 0 ? outcome.stdout.trim() : outcome.stdout + outcome.stderr;
      };
      for (const scenario of SCENARIOS) {
        Deno.removeSync(`${depot}/d`, { recursive: true });
        Deno.mkdirSync(`${depot}/d`);
        for (let i = 0; i < 600; i++) {
          const content = scenario === "spawned" ? "#!/bin/sh\nexit 7\n" : `f${i}\n`;
          daemon.store.set(`d/f${i}`, { content, mode: 0o755 });
        }
        assertEquals(await play("storm", [scenario, `${depot}/d`]), "ok", scenario);
      }
      Deno.writeTextFileSync(`${depot}/d/0`, "");
      assertEquals(await play("opens", ["edges", `${depot}/d`]), "ok");
      daemon.store.clear();
      daemon.store.set("d/evicted", { content: "" });
      Deno.removeSync(`${depot}/d`, { recursive: true });
      Deno.mkdirSync(`${depot}/d`);
      const list = { P4CACHE_LIST: "1" };
      assertEquals(await play("list", ["seek", `${depot}/d`], list), "evicted");
      assertEquals(await play("list", ["scandir", `${depot}/d`], list), "evicted");
    }));
}
