/**
 * A program that waits: what it opened before is known all the same, and it waits as it would without the
 * library.
 *
 * @module
 */

import { assertEquals } from "deno-std/assert/mod.js";
import { buildProgram, withDepot, type World } from "./fake_depot.ts";

const CALLS = [
  "poll",
  "__poll_chk",
  "ppoll",
  "__ppoll_chk",
  "select",
  "pselect",
  "epoll_wait",
  "epoll_pwait",
  "sleep",
  "nanosleep",
  "clock_nanosleep",
];

/** Starts the program, lets the test see what it reports, then ends its standard input; what it says. */
async function idle(
  { dir, depot, env }: World,
  what: string,
  during: (receiver: Deno.DatagramConn) => Promise<void>,
): Promise<string> {
  for (const call of CALLS) {
    for (let i = 0; i < 3; i++) Deno.writeTextFileSync(`${depot}/d/${call}.${i}`, "");
  }
  await buildProgram("idle", `${dir}/idle`);
  const path = env["P4CACHE_ACCESS_SOCK"]!;
  const receiver = Deno.listenDatagram({ transport: "unixpacket", path });
  try {
    const child = new Deno.Command(`${dir}/idle`, {
      args: [what, `${depot}/d`],
      env,
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    await during(receiver);
    await child.stdin.close();
    return new TextDecoder().decode((await child.output()).stdout).trim();
  } finally {
    receiver.close();
  }
}

/** Receives until every file is known that the processes open. */
async function receiveAll(receiver: Deno.DatagramConn): Promise<void> {
  const missing = new Set(CALLS.flatMap((call) => [0, 1, 2].map((i) => `d/${call}.${i}`)));
  while (missing.size > 0) {
    const [datagram] = await receiver.receive();
    for (const name of new TextDecoder().decode(datagram).split("\n")) missing.delete(name);
  }
}

Deno.test("what a process opened is sent within its wait, by whichever call it waits", () =>
  withDepot(async (world) => {
    assertEquals(await idle(world, "noted", receiveAll), "ok");
  }));

Deno.test("a wait that was parted is as long as it was to be", () =>
  withDepot(async (world) => {
    assertEquals(await idle(world, "ends", receiveAll), "ok");
  }));

Deno.test("a wait that was parted ends with what it waits for", () =>
  withDepot(async (world) => {
    assertEquals(await idle(world, "ready", () => Promise.resolve()), "ok");
  }));
