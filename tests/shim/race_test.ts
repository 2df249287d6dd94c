/**
 * The last window of an eviction: a program opens a file for writing, and in that moment it goes.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { run } from "../e2e/daemon_process.ts";
import type { FakeDaemon } from "./fake_daemon.ts";
import { withDepot, type World } from "./fake_depot.ts";

/** Environment in which the victim is evicted so often, each time it was opened for writing. */
async function evicting(world: World, times: number): Promise<Record<string, string>> {
  const library = `${world.dir}/evictor.so`;
  const source = new URL("./c/evictor.c", import.meta.url).pathname;
  const built = await run("gcc", ["-w", "-shared", "-fPIC", "-o", library, source, "-ldl"]);
  assertEquals(built.code, 0, built.stderr);
  return { LD_PRELOAD: `${world.env["LD_PRELOAD"]}:${library}`, EVICTS: String(times) };
}

/** The victim: on the disk, and what the storage has of it. */
function place(depot: string, daemon: FakeDaemon): string {
  Deno.writeTextFileSync(`${depot}/d/victim`, "old ");
  daemon.store.set("d/victim", { content: "old " });
  return `${depot}/d/victim`;
}

const APPENDS: Readonly<Record<string, string>> = {
  "a shell": `printf new >> d/victim`,
  "dd": `printf new | dd of=d/victim conv=notrunc oflag=append status=none`,
  "perl": `perl -e 'open(F, ">>", "d/victim") or die; print F "new"; close F'`,
  "awk": `awk 'BEGIN { printf "new" >> "d/victim" }'`,
};

Deno.test("P1: what is appended to a file that is evicted in that moment is in the file", () =>
  withDepot(async (world, daemon) => {
    const { depot, sh } = world;
    for (const times of [1, 3]) {
      const env = await evicting(world, times);
      for (const [program, script] of Object.entries(APPENDS)) {
        const path = place(depot, daemon);
        daemon.asked.length = 0;
        const output = await sh(script, depot, env);
        assertEquals(output, "", program);
        assertEquals(Deno.readTextFileSync(path), "old new", program);
        assertEquals(daemon.asked.filter((asked) => asked === "d/victim").length, times, program);
      }
    }
  }));

Deno.test("P1: a file that is evicted again and again is EIO, and nothing is written to one that is gone", () =>
  withDepot(async (world, daemon) => {
    const env = await evicting(world, 1_000_000);
    const path = place(world.depot, daemon);
    assertEquals(await world.probe("open rdwr", path, env), "error EIO");
    assertEquals(await world.probe("open append creat", path, env), "error EIO");
  }));

Deno.test("a file that is replaced, as RCS does it, is not mistaken for an evicted one for ever", () =>
  withDepot(async ({ depot, sh }) => {
    Deno.writeTextFileSync(`${depot}/d/a`, "");
    // The name is a new file's while the old one is still open: each open finds the one that is there.
    await sh(`exec 3>>d/a; mv d/a d/b; printf x >&3; printf y >> d/a; exec 3>&-`, depot);
    assertEquals(Deno.readTextFileSync(`${depot}/d/a`), "y");
    assertEquals(Deno.readTextFileSync(`${depot}/d/b`), "x");
  }));
