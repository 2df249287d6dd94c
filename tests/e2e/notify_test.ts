/**
 * What the daemon tells systemd, seen from a notify socket of our own.
 *
 * @module
 */

import { assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { BINARY, mayWatch, TempDir, until } from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of sd_notify are skipped: they need CAP_SYS_ADMIN");

/** A started daemon that knows the socket. */
function start(dir: string, env: Record<string, string>, more: string[] = []): Deno.ChildProcess {
  for (const name of ["depot", "store"]) Deno.mkdirSync(`${dir}/${name}`);
  return new Deno.Command(BINARY, {
    args: [
      ...[
        "--depot-path",
        `${dir}/depot`,
        "--primary-type",
        "nfs",
        "--primary-path",
        `${dir}/store`,
      ],
      ...["--log-file", `${dir}/log`, ...more],
    ],
    env,
    stdin: "null",
    stdout: "null",
  }).spawn();
}

Deno.test({
  name: "systemd is told of readiness, the process id, life and the end, in this order",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const socketPath = `${dir.path}/notify.sock`;
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: socketPath });
    const daemon = start(dir.path, { NOTIFY_SOCKET: socketPath, WATCHDOG_USEC: "400000" });
    const next = async () => new TextDecoder().decode((await socket.receive())[0]);
    const ready = await next();
    assertEquals(ready.split("\n").slice(0, 2), ["READY=1", `MAINPID=${daemon.pid}`]);
    assertMatch(ready, /\nSTATUS=Serving 0 files, 0 dirty, cache 0.0\/100.0 GB$/);
    assertEquals([await next(), await next()], ["WATCHDOG=1", "WATCHDOG=1"]);
    daemon.kill("SIGTERM");
    let last = await next();
    while (last === "WATCHDOG=1") last = await next();
    assertMatch(last, /^STOPPING=1\nSTATUS=Stopping/);
    assertEquals((await daemon.status).code, 0);
    socket.close();
  },
});

Deno.test({
  name:
    "an abstract notify socket is told too, and a watchdog meant for another process is left alone",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    const name = `p4cache-test-${crypto.randomUUID()}`;
    const received = `${dir.path}/received`;
    Deno.writeTextFileSync(received, "");
    const receiver = new Deno.Command("socat", {
      args: ["-u", `ABSTRACT-RECV:${name}`, `OPEN:${received},append`],
    }).spawn();
    const isBound = () => Deno.readTextFileSync("/proc/net/unix").includes(`@${name}`);
    await until("the receiver is bound", isBound);
    const env = { NOTIFY_SOCKET: `@${name}`, WATCHDOG_USEC: "1000", WATCHDOG_PID: "1" };
    const daemon = start(dir.path, env);
    await until("readiness is told", () => Deno.readTextFileSync(received).includes("READY=1"));
    daemon.kill("SIGTERM");
    assertEquals((await daemon.status).code, 0);
    await until("the end is told", () => Deno.readTextFileSync(received).includes("STOPPING=1"));
    receiver.kill("SIGTERM");
    await receiver.status;
    assertEquals(Deno.readTextFileSync(received).includes("WATCHDOG"), false);
  },
});

Deno.test({
  name: "a notify socket that nobody reads keeps the daemon from nothing",
  ignore: noDaemon,
  fn: async () => {
    using dir = new TempDir();
    Deno.writeTextFileSync(`${dir.path}/log`, "");
    const daemon = start(dir.path, { NOTIFY_SOCKET: `${dir.path}/nobody` });
    const log = () => Deno.readTextFileSync(`${dir.path}/log`);
    await until("it serves", () => log().includes("Serving"));
    daemon.kill("SIGTERM");
    assertEquals((await daemon.status).code, 0);
    assertEquals(log().match(/Nobody hears us/g)?.length, 1);
  },
});
