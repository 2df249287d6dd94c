/**
 * The library in programs that do what programs do: threads, forks, signals, closed descriptors, tiny
 * stacks, given-up rights.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { run, SHIM } from "../e2e/daemon_process.ts";
import type { FakeDaemon } from "./fake_daemon.ts";
import { buildProgram, withDepot } from "./fake_depot.ts";

function evict(daemon: FakeDaemon, count: number, more: { afterMs?: number } = {}): void {
  for (let i = 0; i < count; i++) daemon.store.set(`d/f${i}`, { content: `f${i}\n`, ...more });
}

const SCENARIOS: Readonly<Record<string, string>> = {
  threads: "a thousand threads bring files back, and four connections stay open at most",
  forks: "a process with threads forks, and parent and child go on, each on its own connection",
  vforks: "a child of vfork asks without touching what is its parent's",
  signals: "handlers that open evicted files interrupt an open that waits, which goes on",
  closing: "closing all descriptors, and having others in their place, mixes nothing up",
  "tiny stack": "calls work on the smallest stack a thread can have",
  confined: "a process that set a seccomp filter is not ended by calls it did not make",
};

for (const [scenario, promise] of Object.entries(SCENARIOS)) {
  Deno.test(promise, () =>
    withDepot(async ({ depot, play }, daemon) => {
      evict(daemon, 600);
      assertEquals(await play("storm", scenario, `${depot}/d`), "ok");
    }));
}

Deno.test("a cancelled thread ends after its question, and leaves nothing behind", () =>
  withDepot(async ({ depot, play }, daemon) => {
    evict(daemon, 20, { afterMs: 100 });
    assertEquals(await play("storm", "cancel", `${depot}/d`), "ok");
  }));

Deno.test("a program that is an evicted file is restored and run, whatever starts it", () =>
  withDepot(async ({ depot, play }, daemon) => {
    for (let i = 0; i < 10; i++) {
      daemon.store.set(`d/f${i}`, { content: "#!/bin/sh\nexit 7\n", mode: 0o755 });
    }
    assertEquals(await play("storm", "spawned", `${depot}/d`), "ok");
  }));

const isRoot = Deno.uid() === 0;

Deno.test({
  name: "in a chroot the depot's name means another place (needs root)",
  ignore: !isRoot,
  fn: () =>
    withDepot(async ({ dir, depot, play }, daemon) => {
      evict(daemon, 2);
      Deno.mkdirSync(`${dir}/jail`);
      assertEquals(await play("storm", "jailed", `${depot}/d`, { JAIL: `${dir}/jail` }), "ok");
      assertEquals(daemon.asked, ["d/f0"]);
    }),
});

Deno.test({
  name: "a set-user-ID program takes no depot from its caller's environment (needs root)",
  ignore: !isRoot,
  fn: () =>
    withDepot(async ({ dir, depot, env }, daemon) => {
      evict(daemon, 1);
      const probe = `${dir}/secure`;
      // Linked with the library: the loader would not preload it for such a program.
      Deno.copyFileSync(SHIM, `${dir}/libp4shim.so`);
      await buildProgram("probe", probe, [
        "-Wl,--no-as-needed",
        `-L${dir}`,
        "-l:libp4shim.so",
        `-Wl,-rpath,${dir}`,
      ]);
      const { LD_PRELOAD: _, ...rest } = env;
      const open = async () =>
        (await run(probe, ["stat", `${depot}/d/f0`], { env: rest })).stdout.trim();
      for (const path of [dir, depot, `${depot}/d`]) Deno.chmodSync(path, 0o755);
      Deno.chownSync(probe, 65534, 65534);
      Deno.chmodSync(probe, 0o4755);
      assertEquals(await open(), "error ENOENT");
      assertEquals(daemon.asked, []);
      Deno.chmodSync(probe, 0o755);
      assertEquals(await open(), "ok 3");
    }),
});
