/**
 * The daemon before a storage that goes away, comes back, and breaks connections: nothing is lost,
 * nothing wrong is delivered, and while it is away hardly anything is spent on it.
 *
 * @module
 */

import { assert, assertEquals, assertMatch } from "deno-std/assert/mod.js";
import { openBackend } from "../../src/storage/open_backend.ts";
import { DaemonProcess, filesBelow, mayWatch, TempDir, until } from "../e2e/daemon_process.ts";
import { never, someBytes } from "../storage/contents.ts";
import { type FaultyServer, KINDS } from "./servers.ts";
import { Toxiproxy, toxiproxyBinary } from "./toxiproxy.ts";

const proxyBinary = toxiproxyBinary();
if (!mayWatch()) console.log("tests of the daemon with faults are skipped: no CAP_SYS_ADMIN");

const SMALL = 150, SMALL_BYTES = 5000, LARGE_BYTES = 20 * 1024 * 1024;

/** How long the storage stays away, ms; the daemon's effort is measured meanwhile. */
const AWAY_MS = 5000;

/** The depot's files: many small, one of several slices. */
function makeFiles(): Map<string, Uint8Array<ArrayBuffer>> {
  const files = new Map<string, Uint8Array<ArrayBuffer>>();
  for (let i = 0; i < SMALL; i++) files.set(`d${i % 7}/${i},v`, someBytes(SMALL_BYTES, i + 1));
  return files.set("large", someBytes(LARGE_BYTES, 7));
}

/** The file of settings for a server at another address. */
function writeConfig(dir: string, server: FaultyServer, address: string): string {
  const { primary, ...rest } = { primary: server.document(address), low_watermark_bytes: 1 };
  const path = `${dir}/config.json`;
  Deno.writeTextFileSync(path, JSON.stringify({ ...rest, primary }), { mode: 0o600 });
  return path;
}

/** CPU that a process has used, ms (proc(5): utime and stime in ticks of 10 ms). */
function cpuMs(pid: number): number {
  const fields = Deno.readTextFileSync(`/proc/${pid}/stat`).split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function storedCount(server: FaultyServer): Promise<number> {
  const backend = await openBackend(server.config(server.address));
  let count = 0;
  for await (const _ of backend.list("", never)) count++;
  await backend.close();
  return count;
}

for (const kind of KINDS) {
  const missing = proxyBinary === null ? "no toxiproxy-server" : kind.missing;
  Deno.test({
    name: `${kind.name}: the daemon outlasts a storage that goes away and breaks connections`,
    ignore: missing !== null || !mayWatch(),
    fn: async () => {
      using dir = new TempDir();
      const depot = `${dir.path}/depot`;
      for (let i = 0; i < 7; i++) Deno.mkdirSync(`${depot}/d${i}`, { recursive: true });
      const server = await kind.start();
      const proxy = await Toxiproxy.start(proxyBinary!, server.address);
      try {
        const config = writeConfig(dir.path, server, proxy.address);
        await using daemon = await DaemonProcess.start(depot, ["--config", config]);
        const files = makeFiles();
        await proxy.cut();
        for (const [name, bytes] of files) Deno.writeFileSync(`${depot}/${name}`, bytes);
        await until(
          "the failure is told",
          () => daemon.log().includes("Upload failed (transient)"),
        );

        const lines = daemon.log().split("\n").length, cpu = cpuMs(daemon.pid);
        await new Promise((resolve) => setTimeout(resolve, AWAY_MS));
        const told = daemon.log().split("\n").slice(lines);
        assert(told.length <= 5, `${told.length} lines while it is away:\n${told.join("\n")}`);
        const spent = cpuMs(daemon.pid) - cpu;
        assert(spent <= AWAY_MS * 0.15, `${spent} ms of CPU in ${AWAY_MS} ms`);
        assertEquals(filesBelow(depot).size, files.size, "a file was evicted before it was stored");

        await proxy.heal();
        await until("all is stored", async () => await storedCount(server) === files.size);
        // Those whose first put has an unknown outcome stay for a while.
        await until("most are evicted", () => filesBelow(depot).size < files.size / 2);

        await proxy.add([
          { type: "reset_peer", stream: "downstream", attributes: { timeout: 40 }, toxicity: 0.3 },
          { type: "limit_data", stream: "downstream", attributes: { bytes: 3000 }, toxicity: 0.2 },
        ]);
        for (const [name, bytes] of files) await restore(daemon, name, bytes);
        assertEquals([...Deno.readDirSync(`${depot}/.p4cache/restore`)], []);
        await proxy.heal();
        assertEquals(await daemon.stop(), 0);
      } finally {
        await proxy.end();
        await server.end();
      }
    },
  });
}

/** Asks until the file is there; it is whole at once, and no answer calls it absent. */
async function restore(daemon: DaemonProcess, name: string, bytes: Uint8Array): Promise<void> {
  for (;;) {
    const answer = await daemon.fetch(name);
    assertMatch(answer, /^(OK|ERROR) /, name);
    if (!answer.startsWith("OK")) continue;
    assertEquals(answer, `OK ${bytes.length}`);
    try {
      assertEquals(Deno.readFileSync(`${daemon.depot}/${name}`), bytes);
      return;
    } catch (error) {
      // Evicted again since.
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
