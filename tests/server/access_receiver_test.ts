/**
 * The socket on which shims tell what was read.
 *
 * @module
 */

import { assertEquals, assertThrows } from "deno-std/assert/mod.js";
import { EnvironmentError } from "../../src/errors.ts";
import { AccessReceiver } from "../../src/server/access_receiver.ts";

/**
 * Sends datagrams (one character per byte) to a receiver and returns what it told, call by call.
 * @param calls So many are waited for before it is closed.
 */
async function receive(datagrams: string[], calls: number): Promise<string[][]> {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/access.sock`;
  const seen: string[][] = [];
  const all = Promise.withResolvers<void>();
  const receiver = AccessReceiver.listen(path, 0o622, (paths) => {
    seen.push(paths);
    if (seen.length === calls) all.resolve();
    if (paths.includes("throws")) throw new Error("cannot note it");
  });
  try {
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o622);
    const sender = Deno.listenDatagram({ transport: "unixpacket", path: `${dir}/sender` });
    for (const text of datagrams) {
      const bytes = Uint8Array.from(text, (c) => c.charCodeAt(0));
      await sender.send(bytes, { transport: "unixpacket", path });
    }
    if (calls > 0) await all.promise;
    sender.close();
  } finally {
    await receiver.close();
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["sender"]);
    Deno.removeSync(dir, { recursive: true });
  }
  return seen;
}

Deno.test("paths come byte for byte, and those that lead out of the depot not at all", async () => {
  const seen = await receive(
    ["a/b,v\nc\xff d\n", "../x\n/etc/passwd\n.p4cache/manifest\n\n", "x\0y\nlast"],
    2,
  );
  assertEquals(seen, [["a/b,v", "c\xff d"], ["last"]]);
});

Deno.test("a large datagram is taken whole", async () => {
  const paths = Array.from({ length: 600 }, (_, i) => `dir/${"n".repeat(90)}${i}`);
  assertEquals(await receive([paths.join("\n")], 1), [paths]);
});

Deno.test("an access that cannot be noted does not end the receiver", async () => {
  assertEquals(await receive(["throws", "after"], 2), [["throws"], ["after"]]);
});

Deno.test("what was sent before the end is told, however much waits to be read", async () => {
  const datagrams = Array.from({ length: 8 }, (_, i) => `sent${i}`);
  assertEquals(await receive(datagrams, 0), datagrams.map((path) => [path]));
});

Deno.test("a dead socket is replaced, another file at its path is left alone", async () => {
  const dir = Deno.makeTempDirSync();
  const path = `${dir}/access.sock`;
  Deno.listenDatagram({ transport: "unixpacket", path }).close(); // leaves its file
  assertEquals(Deno.lstatSync(path).isSocket, true);
  await AccessReceiver.listen(path, 0o600, () => {}).close();
  Deno.writeTextFileSync(path, "kept");
  assertThrows(() => AccessReceiver.listen(path, 0o600, () => {}), EnvironmentError, path);
  assertEquals(Deno.readTextFileSync(path), "kept");
  Deno.removeSync(dir, { recursive: true });
});
