/**
 * What is noted of opens: nothing gets lost without being counted, and an open costs no system call.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { hasProgram, run, until } from "../e2e/daemon_process.ts";
import { buildProgram, withDepot, type World } from "./fake_depot.ts";

function listen({ env }: World): Deno.DatagramConn {
  return Deno.listenDatagram({ transport: "unixpacket", path: env["P4CACHE_ACCESS_SOCK"]! });
}

/** Adds the names of the next datagram. */
async function receive(receiver: Deno.DatagramConn, names: string[]): Promise<void> {
  const [datagram] = await receiver.receive();
  names.push(...new TextDecoder().decode(datagram).trimEnd().split("\n"));
}

/** Starts the program that opens a thousand files; returns when it has, with what it is ended by. */
async function openMany({ dir, depot, env }: World): Promise<() => Promise<void>> {
  for (let i = 0; i < 1000; i++) Deno.writeTextFileSync(`${depot}/d/${i}`, "");
  // So long that they do not fit together.
  Deno.symlinkSync(`${depot}/d`, `${depot}/${"long".repeat(20)}`);
  await buildProgram("opens", `${dir}/opens`);
  const child = new Deno.Command(`${dir}/opens`, {
    args: ["many", `${depot}/${"long".repeat(20)}`],
    env,
    stdin: "piped",
    stdout: "piped",
  }).spawn();
  const output = child.stdout.getReader();
  assertEquals(new TextDecoder().decode((await output.read()).value), "opened\n");
  return async () => {
    await child.stdin.close();
    assertEquals(new TextDecoder().decode((await output.read()).value), "ok\n");
    assertEquals((await output.read()).done, true);
    assertEquals((await child.status).code, 0);
  };
}

const ALL = Array.from({ length: 1000 }, (_, i) => `${"long".repeat(20)}/${i}`);

Deno.test("what was noted is sent when there is much of it, and the rest at the end", () =>
  withDepot(async (world) => {
    const receiver = listen(world), names: string[] = [];
    try {
      const end = await openMany(world);
      while (names.length < 500) await receive(receiver, names);
      await end();
      while (names.length < 1000) await receive(receiver, names);
      assertEquals(names, ALL);
    } finally {
      receiver.close();
    }
  }));

Deno.test("what could not be sent is counted, and told when the daemon is there again", () =>
  withDepot(async (world, daemon) => {
    const end = await openMany(world), names: string[] = [];
    const receiver = listen(world);
    try {
      await end();
      await until("it is told", () => Promise.resolve(daemon.asked.length > 0));
      const [told] = daemon.asked;
      const dropped = Number(/^DROPPED (\d+)$/.exec(told ?? "")?.[1]);
      while (names.length < 1000 - dropped) await receive(receiver, names);
      assertEquals(names, ALL.slice(dropped));
    } finally {
      receiver.close();
    }
  }));

Deno.test("a thread that is cancelled while its open is told leaves the others theirs", () =>
  withDepot(async (world) => {
    const receiver = listen(world), names: string[] = [];
    try {
      for (const name of ["0", "1"]) Deno.writeTextFileSync(`${world.depot}/d/${name}`, "");
      assertEquals(await world.play("opens", "cancelled", `${world.depot}/d`), "ok");
      while (names.length < 2) await receive(receiver, names);
      assertEquals(names, ["d/0", "d/1"]);
    } finally {
      receiver.close();
    }
  }));

Deno.test("paths are not read beyond the page that they end in", () =>
  withDepot(async ({ depot, play }) => {
    Deno.writeTextFileSync(`${depot}/d/0`, "");
    assertEquals(await play("opens", "edges", `${depot}/d`), "ok");
  }));

Deno.test({
  name: "opens, stats and remembered misses make the system calls of the program, and no other",
  ignore: !hasProgram("strace"),
  fn: () =>
    withDepot(async ({ dir, depot, env }) => {
      Deno.writeTextFileSync(`${depot}/d/0`, "");
      await buildProgram("opens", `${dir}/opens`);
      const count = async (TIMES: string): Promise<number> => {
        const { LD_PRELOAD, ...rest } = env;
        const traced = [`LD_PRELOAD=${LD_PRELOAD}`, `${dir}/opens`, "often", `${depot}/d`];
        const args = ["-c", "-U", "calls,name", "-o", `${dir}/counts`, "env", ...traced];
        // Remembered as long as the test lasts, but for looks at the daemon's socket.
        const more = { ...rest, TIMES, P4CACHE_NEGATIVE_TTL: "600" };
        assertEquals((await run("strace", args, { env: more })).code, 0);
        return Number(/(\d+) total/.exec(Deno.readTextFileSync(`${dir}/counts`))?.[1]);
      };
      const once = await count("1");
      // Two opens, a close, two stats; a look at the socket in a tenth of a second, a send in a second.
      assertEquals(Math.round((await count("2001") - once) / 2000), 5);
    }),
});
