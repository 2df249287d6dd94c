/**
 * Upgrades and the way back while files are read and written: two versions after one another on one
 * depot, one storage, one socket.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { Kv } from "../../ffi/kv.ts";
import { KvBatch } from "../../ffi/kv_batch.ts";
import { mayWatch, run, until } from "../e2e/daemon_process.ts";
import { FakeDaemon } from "../shim/fake_daemon.ts";
import { Machine } from "./machine.ts";
import { ReleaseServer, VERSION } from "./release_folder.ts";

const ignore = !mayWatch();
if (ignore) console.log("tests of rolling upgrades are skipped: they need CAP_SYS_ADMIN");

const FILES = 12;

/**
 * A program that reads every file again and again, in one process as p4d does, and in a new one each
 * time, and writes further ones. It ends at the first read that fails or gives other content.
 */
const LOAD = `
cd "$1" || exit 1
for ((round = 1; ; round++)); do
    [ ! -e "$2/stop" ] || exit 0
    for ((i = 0; i < ${FILES}; i++)); do
        mapfile -t lines < "main/f$i,v" || { echo "round $round: cannot read f$i"; exit 1; }
        [ "\${lines[0]}" = "content $i" ] || { echo "round $round: f$i is '\${lines[0]}'"; exit 1; }
        other=$(cat "main/f$(((i + 5) % ${FILES})),v") || { echo "round $round: cat fails"; exit 1; }
        [ "$other" = "content $(((i + 5) % ${FILES}))" ] || { echo "cat: '$other'"; exit 1; }
    done
    echo "written in round $round" > "main/new$round,v"
    echo $round > "$2/round.next" && mv "$2/round.next" "$2/round"
done
`;

/** {@link LOAD} under the library that is installed at its start, as a p4d that is not restarted. */
class Load {
  readonly #dir: string;
  readonly #child: Deno.ChildProcess;

  constructor(machine: Machine) {
    this.#dir = `${machine.path}/load`;
    Deno.mkdirSync(this.#dir);
    this.#child = new Deno.Command("bash", {
      args: ["-c", LOAD, "load", machine.depot, this.#dir],
      env: { LD_PRELOAD: `${machine.path}/lib/libp4shim.so`, P4CACHE_DEPOT: machine.depot },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  }

  #round(): number {
    try {
      return Number(Deno.readTextFileSync(`${this.#dir}/round`));
    } catch {
      return 0;
    }
  }

  /** Resolves when every file was read twice more, or a read failed: {@link end} tells which. */
  async goesOn(): Promise<void> {
    const from = this.#round();
    let hasEnded = false;
    void this.#child.status.then(() => hasEnded = true);
    await until("the load goes on", () => hasEnded || this.#round() >= from + 2);
    if (hasEnded) await this.end();
  }

  /** Ends it; returns how often it read every file. @throws Error that says what failed. */
  async end(): Promise<number> {
    Deno.writeTextFileSync(`${this.#dir}/stop`, "");
    const { code, stdout, stderr } = await this.#child.output();
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
    if (code !== 0) throw new Error(text(stdout) + text(stderr));
    return this.#round();
  }
}

Deno.test(
  "no read fails while the program is upgraded, rolled back, and replaced by a contract-only one",
  {
    ignore,
  },
  async () => {
    // Everything that is stored is evicted at once.
    await using machine = new Machine({ low_watermark_bytes: 1, scrub_interval: 0 });
    await using server = new ReleaseServer(await machine.releases());
    Deno.mkdirSync(`${machine.depot}/main`);
    for (let i = 0; i < FILES; i++) {
      Deno.writeTextFileSync(`${machine.depot}/main/f${i},v`, `content ${i}\n`);
    }
    const first = await machine.install(server.url, "0.0.9");
    assertEquals(first.code, 0, first.stderr);
    const isEvicted = () => Array.from(Deno.readDirSync(`${machine.depot}/main`)).length === 0;
    await until("all is evicted", isEvicted);
    const load = new Load(machine);
    const totals = async () =>
      JSON.parse((await machine.p4cache("status", "--json")).stdout).totals;
    const runs = async (version: string) => {
      assertEquals(await machine.version(), version);
      await load.goesOn();
      await until("evicted files are read", async () => (await totals()).restoresOk > 0);
      assertEquals((await totals()).restoresFailed, 0);
    };
    await runs("0.0.9");

    const upgrade = await machine.install(server.url, VERSION);
    assertEquals(upgrade.code, 0, upgrade.stderr);
    await runs(VERSION);

    const shim = `${machine.path}/lib/libp4shim.so`;
    const back = await run(machine.program, ["rollback", "--no-restart", "--shim", shim]);
    assertEquals(back.code, 0, back.stderr);
    await machine.systemctl("restart");
    await until("it answers", async () => (await machine.p4cache("status")).code === 0);
    await runs("0.0.9");

    // Another implementation, which knows the contract alone, and then ours again.
    await machine.systemctl("disable");
    const socket = `${machine.depot}/.p4cache/shim.sock`;
    {
      await using other = new FakeDaemon(socket, machine.depot, { old: "refuses" });
      for (let i = 0; i < FILES; i++) {
        other.store.set(`main/f${i},v`, { content: `content ${i}\n` });
      }
      // It evicts by itself, too; all of them are in the storage.
      await run("sh", ["-c", `rm -f ${machine.depot}/main/f*`]);
      await load.goesOn();
      assert(other.asked.length >= FILES, `asked for ${other.asked.length}`);
    }
    await machine.systemctl("enable");
    await until("it answers", async () => (await machine.p4cache("status")).code === 0);
    await runs("0.0.9");

    const rounds = await load.end();
    assert(rounds >= 8, `${rounds} rounds`);
    // What was written meanwhile, whoever ran, is stored.
    await until("all is stored", async () => (await machine.p4cache("flush", "--wait")).code === 0);
    for (let round = 1; round <= rounds; round++) {
      const stored = Deno.readTextFileSync(`${machine.store}/main/new${round},v`);
      assertEquals(stored, `written in round ${round}\n`);
    }
  },
);

Deno.test(
  "a daemon that is too old for the state ends with one line, and changes none of its bytes",
  {
    ignore,
  },
  async () => {
    await using machine = new Machine({ stats_interval: 0 });
    await using server = new ReleaseServer(await machine.releases());
    assertEquals((await machine.install(server.url, VERSION)).code, 0);
    Deno.writeTextFileSync(`${machine.depot}/file`, "content");
    assertEquals((await machine.p4cache("flush", "--wait")).code, 0);
    await machine.systemctl("disable");
    const dir = `${machine.depot}/.p4cache/manifest`;
    const kv = new Kv(dir, 1024 ** 3);
    const meta = kv.database("meta");
    const saved = JSON.parse(new TextDecoder().decode(kv.get(meta, "counters")!));
    const newer = {
      ...saved,
      schema: 1000,
      readableFrom: 999,
      txn: String(BigInt(saved.txn) + 1n),
    };
    const batch = new KvBatch();
    batch.put(meta, "counters", new TextEncoder().encode(JSON.stringify(newer)));
    await kv.apply(batch.bytes());
    kv.close();
    const before = Deno.readFileSync(`${dir}/data.mdb`);
    const { code, stderr } = await machine.p4cache();
    assertEquals(code, 1);
    assertMatch(stderr, /^p4-cache: Cannot open the state in [^\n]*\n$/);
    assertStringIncludes(stderr, "a newer p4-cache wrote it (schema 1000, readable from 999 on;");
    assertEquals(Deno.readFileSync(`${dir}/data.mdb`), before);
  },
);
