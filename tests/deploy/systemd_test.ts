/**
 * The systemd units: what systemd says of them, and the daemon under what they take away.
 *
 * @module
 */

import { assert, assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { BINARY, hasProgram, mayWatch, run, until } from "../e2e/daemon_process.ts";
import { allowedCalls, asUnit, setting, unitLines, UNITS, USER } from "./unit_files.ts";

const noSystemd = !hasProgram("systemd-analyze");
if (noSystemd) console.log("checks of the units are skipped: systemd-analyze is not installed");
const noNamespace = !mayWatch() || Deno.uid() !== 0;
if (noNamespace) console.log("the daemon under its unit is skipped: it needs root");

const DEPOTS = "p4-cache-depots.service", REPLICA = "p4-cache-replica.service";
const READ_WRITE = ["p4-cache.service", "p4-cache@.service", DEPOTS];

/** The unit's lists of capabilities, as `setcap` in install.sh gives them. */
const CAPABILITIES = /CAPABILITIES='(.*)'/.exec(
  Deno.readTextFileSync(new URL("../../install.sh", import.meta.url)),
)![1]!;

Deno.test("systemd finds nothing wrong in the units", { ignore: noSystemd }, async () => {
  const dir = Deno.makeTempDirSync();
  try {
    for (const name of [...READ_WRITE, REPLICA, "p4-cache-forking.service"]) {
      const text = Deno.readTextFileSync(UNITS + name);
      const path = `${dir}/${name.replace("@", "@projects")}`;
      Deno.writeTextFileSync(path, text.replaceAll("/usr/local/bin/p4-cache", "/bin/true"));
      const { code, stderr } = await run("systemd-analyze", ["verify", "--man=no", path]);
      // It says of every machine's other units what it likes.
      const ours = stderr.split("\n").filter((line) => line.includes("p4-cache"));
      assertEquals([code, ours], [0, []], name);
    }
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test("the units expose no more than their page says", { ignore: noSystemd }, async () => {
  const page = Deno.readTextFileSync(new URL("../../docs/deploy/README.md", import.meta.url));
  for (const name of [...READ_WRITE, REPLICA]) {
    const row = page.split("\n").find((line) => line.startsWith(`| [${name}]`))!;
    const told = Number(/\| (\d\.\d) +\|$/.exec(row)![1]);
    const flags = ["security", "--offline=true", "--no-pager", UNITS + name];
    const { stdout } = await run("systemd-analyze", flags);
    const exposure = Number(/Overall exposure level for \S+ ([\d.]+)/.exec(stdout)![1]);
    assert(exposure <= told && told <= 2, `${name}: ${exposure}`);
  }
});

Deno.test("the variant of Type=forking is the guide's unit", () => {
  const name = "p4-cache-forking.service";
  assertEquals(setting(name, "Type"), "forking");
  assertEquals(
    setting(name, "ExecStart").split(/\s+/),
    ("/usr/local/bin/p4-cache --config /etc/p4-cache/config.json --daemon " +
      "--pid-file /var/run/p4-cache.pid --log-file /var/log/p4-cache.log").split(" "),
  );
  assertEquals(setting(name, "PIDFile"), "/var/run/p4-cache.pid");
  assertEquals(setting(name, "AmbientCapabilities"), "CAP_SYS_ADMIN");
});

Deno.test("the template differs from the unit in nothing but the depot's name", () => {
  const plain = unitLines("p4-cache.service").slice(1),
    template = unitLines("p4-cache@.service").slice(1);
  assertEquals(
    template.map((
      [key, value],
    ) => [key, value.replace("%i.json", "config.json").replace("%i.env", "env")]),
    plain,
  );
});

Deno.test("the unit of all depots differs from that of one in what it runs and how it ends", () => {
  const own = ["Description", "ExecStart", "KillMode"];
  const rest = (name: string) => unitLines(name).filter(([key]) => !own.includes(key));
  assertEquals(rest(DEPOTS), rest("p4-cache.service"));
  assertEquals(setting(DEPOTS, "KillMode"), "mixed");
  assertEquals(
    setting(DEPOTS, "ExecStart"),
    "/usr/local/bin/p4-cache run --config-dir /etc/p4-cache/depots.d $RUN_FLAGS",
  );
});

/** A depot, its storage and the program, at a place that a unit does not hide. */
class Service implements AsyncDisposable {
  readonly dir = Deno.makeTempDirSync({ dir: "/srv", prefix: "p4cache-" });
  readonly depot = `${this.dir}/depot`;
  readonly store = `${this.dir}/store`;
  readonly program = `${this.dir}/p4-cache`;
  #child: Deno.ChildProcess | null = null;

  constructor() {
    Deno.chmodSync(this.dir, 0o755);
    Deno.copyFileSync(BINARY, this.program);
    Deno.chmodSync(this.program, 0o755);
    for (const dir of [this.depot, this.store]) {
      Deno.mkdirSync(dir);
      Deno.chownSync(dir, USER, USER);
    }
  }

  async start(unit: string, flags: string[] = [], before: string[] = []): Promise<void> {
    const [command, ...args] = [
      ...before,
      ...asUnit(unit),
      this.program,
      ...["--depot-path", this.depot, "--primary-type", "nfs", "--primary-path", this.store],
      ...flags,
    ];
    this.#child = new Deno.Command(command!, { args, stdin: "null", stdout: "null" }).spawn();
    let ended = false;
    void this.#child.status.then(() => ended = true);
    await until("the daemon answers", async () => {
      assert(!ended, "the daemon ended");
      return (await this.status()).code === 0;
    });
  }

  status() {
    return run(BINARY, ["status", "--json", "--depot-path", this.depot]);
  }

  async stop(): Promise<void> {
    const { stdout, code } = await this.status();
    if (code === 0) {
      const pids = await run("pgrep", ["-f", `^${this.program} `]);
      for (const pid of pids.stdout.trim().split("\n")) Deno.kill(Number(pid), "SIGTERM");
    }
    assert(stdout !== "" || code !== 0);
    await this.#child?.status;
    this.#child = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    Deno.removeSync(this.dir, { recursive: true });
  }
}

Deno.test("under its unit the daemon sees what p4d writes outside of its mount namespace", {
  ignore: noNamespace,
}, async () => {
  await using service = new Service();
  await service.start("p4-cache.service");
  // We are outside: in the namespace that p4d is in, where /tmp is another one.
  Deno.mkdirSync(`${service.depot}/main`);
  Deno.writeTextFileSync(`${service.depot}/main/a.c,v`, "written outside");
  const alias = `${service.dir}/alias`;
  Deno.mkdirSync(alias);
  await run("mount", ["--bind", service.depot, alias]);
  try {
    Deno.writeTextFileSync(`${alias}/main/b.c,v`, "through a bind mount");
  } finally {
    await run("umount", [alias]);
  }
  for (const name of ["a.c,v", "b.c,v"]) {
    const read = (dir: string) => Deno.readTextFileSync(`${dir}/main/${name}`);
    await until(`${name} is uploaded`, () => {
      try {
        return read(service.store) === read(service.depot);
      } catch {
        return false;
      }
    });
  }
  const { watching } = JSON.parse((await service.status()).stdout);
  assertStringIncludes(watching, "filesystem");
});

Deno.test("a program with file capabilities keeps what its unit gives, and hands nothing on", {
  ignore: noNamespace || !hasProgram("setcap"),
}, async () => {
  await using service = new Service();
  assertEquals((await run("setcap", [CAPABILITIES, service.program])).code, 0);
  await service.start("p4-cache.service");
  const pids = await run("pgrep", ["-f", `^${service.program} `]);
  const effective = (pid: string) =>
    BigInt("0x" + /CapEff:\s*([0-9a-f]+)/.exec(Deno.readTextFileSync(`/proc/${pid}/status`))![1]);
  const SYS_ADMIN = 21n, LEASE = 28n;
  const all = [SYS_ADMIN, LEASE].reduce((set, cap) => set | 1n << cap, 0n);
  assertEquals(effective(pids.stdout.trim()), all);
  const byHand = ["--reuid=65534", "--regid=65534", "--clear-groups", service.program];
  const other = new Deno.Command("setpriv", {
    args: [...byHand, "exec", "--depot-path", service.depot, "--", "cat", "/proc/self/status"],
    stdin: "null",
  });
  // 'exec' starts cat without them, so that a command cannot use what the daemon may.
  const text = new TextDecoder().decode((await other.output()).stdout);
  assertEquals(/CapEff:\s*([0-9a-f]+)/.exec(text)?.[1], "0000000000000000");
});

Deno.test("a replica serves without any capability", { ignore: noNamespace }, async () => {
  await using service = new Service();
  Deno.writeTextFileSync(`${service.store}/a.txt`, "from storage");
  Deno.chmodSync(`${service.store}/a.txt`, 0o644);
  await service.start(REPLICA, ["--read-only"]);
  const restored = await run(BINARY, ["prefetch", "a.txt", "--depot-path", service.depot]);
  assertEquals(restored.code, 0, restored.stderr);
  assertEquals(Deno.readTextFileSync(`${service.depot}/a.txt`), "from storage");
});

Deno.test("the daemon makes no system call that its unit forbids", {
  ignore: noNamespace || noSystemd || !hasProgram("strace"),
}, async () => {
  const allowed = await allowedCalls("p4-cache.service");
  assert(allowed.size > 200 && !allowed.has("mount") && allowed.has("fanotify_init"));
  await using service = new Service();
  const trace = `${service.dir}/trace`;
  await service.start("p4-cache.service", [
    "--max-cache-bytes",
    "8192",
    "--low-watermark-bytes",
    "4096",
  ], [
    ..."strace --follow-forks --summary-only --output".split(" "),
    trace,
  ]);
  for (let i = 0; i < 5; i++) Deno.writeTextFileSync(`${service.depot}/${i}`, "x".repeat(4096));
  await until("something is uploaded and evicted", async () => {
    const { totals } = JSON.parse((await service.status()).stdout);
    return totals.evictions > 0;
  });
  await run(BINARY, ["prefetch", "0", "--depot-path", service.depot]);
  await service.stop();
  const lines = Deno.readTextFileSync(trace).split("\n");
  const made = lines.map((line) => /^\s*[\d.]+\s.*?\s([a-z_0-9]+)$/.exec(line)?.[1])
    .filter((call) => call !== undefined && call !== "total");
  // The wrapper's own calls: the namespace, and becoming another user.
  const wrappers = new Set([
    "unshare",
    "mount",
    "setgroups",
    "setresuid",
    "setresgid",
    "capset",
    "pivot_root",
    "umount2",
  ]);
  const forbidden = made.filter((call) => !allowed.has(call!) && !wrappers.has(call!));
  assert(made.includes("fanotify_init"), made.join(" "));
  assertEquals(forbidden, []);
});
