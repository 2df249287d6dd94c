/**
 * Several depots on one host: `p4-cache run`.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { BINARY, filesBelow, hasProgram, mayWatch, run, TempDir, until } from "./daemon_process.ts";

const noDaemon = !mayWatch();
if (noDaemon) console.log("tests of several depots are skipped: they need CAP_SYS_ADMIN");

/** A host with depots, and `p4-cache run` on it. */
class Host implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly path = this.#dir.path;
  readonly configs = `${this.path}/depots.d`;
  #child: Deno.ChildProcess | null = null;

  constructor(...names: string[]) {
    Deno.mkdirSync(this.configs);
    for (const name of names) this.add(name);
  }

  add(name: string, more: Record<string, unknown> = {}): void {
    for (const dir of [this.depot(name), this.store(name)]) Deno.mkdirSync(dir);
    const primary = { type: "nfs", path: this.store(name) };
    const config = { depot_path: this.depot(name), primary, ...more };
    Deno.writeTextFileSync(this.config(name), JSON.stringify(config));
  }

  config(name: string): string {
    return `${this.configs}/${name}.json`;
  }

  depot(name: string): string {
    return `${this.path}/${name}`;
  }

  store(name: string): string {
    return `${this.path}/${name}.store`;
  }

  start(flags: string[] = [], env: Record<string, string> = {}): void {
    const command = 'exec "$0" run "$@" 2>> ' + `${this.path}/log`;
    this.#child = new Deno.Command("sh", {
      args: ["-c", command, BINARY, "--config-dir", this.configs, ...flags],
      env,
      stdin: "null",
    }).spawn();
  }

  log(): string {
    return Deno.readTextFileSync(`${this.path}/log`);
  }

  signal(signal: Deno.Signal): void {
    this.#child!.kill(signal);
  }

  async end(signal: Deno.Signal = "SIGTERM"): Promise<number> {
    this.signal(signal);
    const { code } = await this.#child!.status;
    this.#child = null;
    return code;
  }

  /** Depot → pid of its daemon, or why there is none. */
  async daemons(): Promise<Record<string, number | string>> {
    const flags = ["status", "--all", "--json", "--config-dir", this.configs];
    const all = JSON.parse((await run(BINARY, flags)).stdout);
    return Object.fromEntries(
      all.map((each: { name: string; status: { pid: number } | null; why: string }) =>
        [each.name, each.status?.pid ?? each.why] as const
      ),
    );
  }

  async serves(name: string): Promise<boolean> {
    return typeof (await this.daemons())[name] === "number";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child !== null) await this.end().catch(() => {}); // it ended already
    this.#dir[Symbol.dispose]();
  }
}

function isAlive(pid: number): boolean {
  try {
    Deno.kill(pid, "SIGCONT");
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

Deno.test(
  "one depot that fails stops no other, and readiness is told when each has answered or failed",
  {
    ignore: noDaemon,
  },
  async () => {
    await using host = new Host("art", "code");
    host.add("wrong", { low_watermark_bites: 1 });
    host.add("twin", { primary: { type: "nfs", path: host.store("art") } });
    const socketPath = `${host.path}/notify.sock`;
    const socket = Deno.listenDatagram({ transport: "unixpacket", path: socketPath });
    host.start([], { NOTIFY_SOCKET: socketPath });
    const ready = new TextDecoder().decode((await socket.receive())[0]);
    assertMatch(ready, /^READY=1\n/);
    assertStringIncludes(ready, "STATUS=4 depots: 2 serving, 2 failed (twin, wrong)");
    assertStringIncludes(host.log(), "'wrong' failed: Cannot use low_watermark_bites");
    assertStringIncludes(host.log(), `'twin' failed: Cannot use ${host.config("twin")}: primary `);
    Deno.writeTextFileSync(`${host.depot("code")}/file`, "1");
    await until("it is stored", () => filesBelow(host.store("code")).has("file"));
    // Put right: tried again at once.
    host.signal("SIGHUP");
    Deno.writeTextFileSync(
      host.config("wrong"),
      Deno.readTextFileSync(host.config("wrong")).replace(
        "low_watermark_bites",
        "low_watermark_bytes",
      ),
    );
    await until("it serves, too", () => host.serves("wrong"));
    assertEquals(await host.end(), 0);
    socket.close();
  },
);

Deno.test(
  "a reload starts the depots of new files, stops those of removed ones, and keeps the others",
  {
    ignore: noDaemon,
  },
  async () => {
    await using host = new Host("a", "b");
    host.start();
    await until("both serve", async () => await host.serves("a") && await host.serves("b"));
    const before = await host.daemons();
    host.add("c");
    Deno.removeSync(host.config("b"));
    host.signal("SIGHUP");
    await until("the new one serves", () => host.serves("c"));
    await until("the removed one is stopped", () => !isAlive(before.b as number));
    const after = await host.daemons();
    assertEquals([Object.keys(after), after.a], [["a", "c"], before.a]);
    assertMatch(host.log(), /\[b\] \S+ INFO daemon: Stopped; every file is uploaded/);
    assertMatch(host.log(), /\[a\] \S+ INFO config: Configuration reloaded/);
  },
);

Deno.test(
  "a daemon that is killed is started again; when the supervisor is killed, its daemons end",
  {
    ignore: noDaemon || !hasProgram("mdb_dump"),
  },
  async () => {
    await using host = new Host("a", "b");
    host.start();
    await until("both serve", async () => await host.serves("a") && await host.serves("b"));
    const before = await host.daemons();
    Deno.kill(before.a as number, "SIGKILL");
    await until("another one serves", async () => {
      const { a } = await host.daemons();
      return typeof a === "number" && a !== before.a;
    });
    const after = await host.daemons();
    assertEquals(after.b, before.b);
    assertStringIncludes(host.log(), "'a' failed: ended by SIGKILL");
    await host.end("SIGKILL");
    await until(
      "the daemons end",
      () => !isAlive(after.a as number) && !isAlive(after.b as number),
    );
    // They came to their end: the mark of a daemon that did not is gone.
    for (const name of ["a", "b"]) {
      const manifest = `${host.depot(name)}/.p4cache/manifest`;
      const meta = await run("mdb_dump", ["-p", "-s", "meta", manifest]);
      assertStringIncludes(meta.stdout, "counters");
      assertEquals(meta.stdout.includes("running"), false, name);
    }
  },
);

Deno.test("what is uploaded by all depots together keeps to the shared bandwidth", {
  ignore: noDaemon,
}, async () => {
  await using host = new Host("a", "b");
  host.start(["--upload-bandwidth", "512KB", "--transfer-memory", "1MB"]);
  await until("both serve", async () => await host.serves("a") && await host.serves("b"));
  const startedMs = performance.now();
  for (const name of ["a", "b"]) {
    for (let i = 0; i < 4; i++) {
      Deno.writeFileSync(`${host.depot(name)}/f${i}`, new Uint8Array(256 * 1024).fill(i));
    }
  }
  for (const name of ["a", "b"]) {
    await until("all is stored", () => filesBelow(host.store(name)).size === 4);
  }
  // 2 MiB: 4 s, less what may pass at once and the one file more that may begin before it counts.
  const seconds = (performance.now() - startedMs) / 1000;
  assert(seconds > 2, `${seconds} s`);
});

Deno.test("one scrape has the metrics of all depots, and the pages say how each is", {
  ignore: noDaemon || !hasProgram("promtool"),
}, async () => {
  await using host = new Host("a", "b");
  host.start(["--http-listen", `unix:${host.path}/http.sock`]);
  await until("both serve", async () => await host.serves("a") && await host.serves("b"));
  const get = async (page: string) => {
    const proxy = { transport: "unix" as const, path: `${host.path}/http.sock` };
    using client = Deno.createHttpClient({ proxy });
    return await (await fetch(`http://localhost/${page}`, { client })).text();
  };
  await until("it is ready", async () => JSON.parse(await get("ready")).ready);
  const metrics = await get("metrics");
  Deno.writeTextFileSync(`${host.path}/metrics`, metrics);
  const check = await run("sh", ["-c", `promtool check metrics < ${host.path}/metrics`]);
  assertEquals([check.code, check.stderr], [0, ""]);
  for (const name of ["a", "b"]) {
    const labels = `{depot="${host.depot(name)}",mode="readwrite"}`;
    assertStringIncludes(metrics, `p4cache_files_dirty${labels} 0\n`);
    assertStringIncludes(metrics, `p4cache_run_serving{name="${name}"} 1\n`);
  }
  const all = JSON.parse(await get("status"));
  assertEquals(all.map((each: { status: { depot: string } }) => each.status.depot), [
    host.depot("a"),
    host.depot("b"),
  ]);
});

Deno.test(
  "an empty or missing directory is refused with one line",
  { ignore: noDaemon },
  async () => {
    using dir = new TempDir();
    const empty = await run(BINARY, ["run", "--config-dir", dir.path]);
    assertEquals([empty.code, empty.stderr], [
      2,
      `p4-cache: Cannot run: there is no *.json in ${dir.path}\n`,
    ]);
    const missing = await run(BINARY, ["run", "--config-dir", `${dir.path}/none`]);
    assertEquals(missing.code, 1);
    assertMatch(missing.stderr, /^p4-cache: Cannot read .*none: it does not exist; [^\n]*\n$/);
  },
);
