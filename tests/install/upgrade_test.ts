/**
 * Upgrades of a running daemon, the way back, and the uninstaller's refusal. In place of systemd stands a
 * script that starts what the installed unit says.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import { mayWatch, type Outcome, run, TempDir, until } from "../e2e/daemon_process.ts";
import {
  binaryName,
  makeRelease,
  pipeInstaller,
  ReleaseServer,
  scriptRelease,
  VERSION,
} from "./release_folder.ts";

const ignore = !mayWatch();
if (ignore) console.log("tests of upgrades are skipped: they need CAP_SYS_ADMIN");

/** `systemctl` for the one unit that is installed. */
const SYSTEMCTL = `#!/bin/sh
pid=$STATE/pid
start() {
    line=$(sed -n 's/^ExecStart=//p' "$SYSTEMD_DIR/p4-cache.service")
    setsid $line >>"$STATE/log" 2>&1 &
    echo $! > "$pid"
}
stop() {
    [ -s "$pid" ] || return 0
    kill "$(cat "$pid")" 2>/dev/null
    while kill -0 "$(cat "$pid")" 2>/dev/null; do sleep 0.1; done
    rm -f "$pid"
}
echo "$*" >> "$STATE/calls"
case "$1" in
    list-units) [ ! -s "$pid" ] || echo "p4-cache.service loaded active running P4 Cache Daemon" ;;
    is-active) [ -s "$pid" ] && kill -0 "$(cat "$pid")" 2>/dev/null ;;
    restart) stop; start ;;
    enable) start ;;
    disable) stop ;;
esac
`;

/** A machine: places to install to, a depot and its storage. */
class Machine implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly path = this.#dir.path;
  readonly depot = `${this.path}/depot`;
  readonly store = `${this.path}/store`;
  readonly program = `${this.path}/bin/p4-cache`;
  readonly config = `${this.path}/etc/config.json`;
  readonly env: Record<string, string>;

  constructor() {
    const { path } = this;
    for (const dir of ["depot", "store", "etc", "tools", "state", "releases", "run"]) {
      Deno.mkdirSync(`${path}/${dir}`);
    }
    Deno.writeTextFileSync(`${path}/tools/systemctl`, SYSTEMCTL, { mode: 0o755 });
    // The real one would make files of this machine.
    Deno.writeTextFileSync(`${path}/tools/systemd-tmpfiles`, "#!/bin/sh\n", { mode: 0o755 });
    const primary = { type: "nfs", path: this.store };
    Deno.writeTextFileSync(this.config, JSON.stringify({ depot_path: this.depot, primary }));
    this.env = {
      PATH: `${path}/tools:${Deno.env.get("PATH")}`,
      STATE: `${path}/state`,
      SYSTEMD_RUN_DIR: `${path}/run`,
      SYSTEMD_DIR: `${path}/systemd`,
      BIN_DIR: `${path}/bin`,
      LIB_DIR: `${path}/lib`,
      CONFIG_DIR: `${path}/etc`,
      LOG_DIR: `${path}/log`,
      LOGROTATE_DIR: `${path}/logrotate`,
      TMPFILES_DIR: `${path}/tmpfiles`,
      TEXTFILE_DIR: `${path}/textfile`,
      SHARE_DIR: `${path}/share`,
      P4CACHE_USER: "root",
      HEALTH_TIMEOUT: "10",
    };
  }

  install(url: string, version: string, flags: string[] = []): Promise<Outcome> {
    const more = { P4CACHE_BASE_URL: url, P4CACHE_VERSION: version };
    return pipeInstaller(["--yes", ...flags], { ...this.env, ...more });
  }

  p4cache(...args: string[]): Promise<Outcome> {
    return run(this.program, [...args, "--config", this.config]);
  }

  async version(): Promise<string> {
    const { stdout, stderr } = await this.p4cache("status", "--json");
    if (stdout === "") throw new Error(stderr + Deno.readTextFileSync(`${this.path}/state/log`));
    return JSON.parse(stdout).version;
  }

  /** Releases below one address: this version, an older and a newer name for it, and a broken one. */
  async releases(): Promise<string> {
    const release = await makeRelease(), folder = `${this.path}/releases`;
    Deno.symlinkSync(release, `${folder}/v${VERSION}`);
    for (const version of ["0.0.9", "0.9.0"]) {
      const script =
        `#!/bin/sh\n[ "$1" = status ] || exec ${release}/${binaryName(VERSION)} "$@"\n` +
        `${release}/${binaryName(VERSION)} "$@" > ${this.path}/answer || exit\n` +
        `sed 's/"version":"${VERSION}"/"version":"${version}"/' ${this.path}/answer\n`;
      await scriptRelease(release, folder, version, script);
    }
    await scriptRelease(release, folder, "0.9.9", "#!/bin/sh\necho broken >&2\nexit 1\n");
    return folder;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run(`${this.path}/tools/systemctl`, ["disable"], { env: this.env });
    this.#dir[Symbol.dispose]();
  }
}

Deno.test("an installed daemon starts, is upgraded, and goes back by 'p4-cache rollback'", {
  ignore,
}, async () => {
  await using machine = new Machine();
  await using server = new ReleaseServer(await machine.releases());
  const first = await machine.install(server.url, "0.0.9");
  assertEquals(first.code, 0, first.stderr + first.stdout);
  assertStringIncludes(first.stdout, "enable and start p4-cache.service");
  assertEquals(await machine.version(), "0.0.9");
  const second = await machine.install(server.url, "0.0.9");
  assertEquals(second.stdout, "Nothing to do: p4-cache 0.0.9 is installed\n");

  const upgrade = await machine.install(server.url, VERSION);
  assertEquals(upgrade.code, 0, upgrade.stderr + upgrade.stdout);
  assertStringIncludes(upgrade.stdout, "'p4-cache rollback' returns to it");
  assertEquals(await machine.version(), VERSION);
  const capability = await run("getcap", [machine.program]);
  assertStringIncludes(capability.stdout, "cap_sys_admin");

  const shim = `${machine.path}/lib/libp4shim.so`;
  const back = await run(machine.program, ["rollback", "--json", "--no-restart", "--shim", shim]);
  assertEquals(back.code, 0, back.stderr);
  const { program, restarted } = JSON.parse(back.stdout);
  assertEquals([program, restarted], [machine.program, false]);
  assertMatch(Deno.readTextFileSync(machine.program), /"version":"0\.0\.9"/);
  assert(Deno.statSync(`${machine.program}.previous`).size > 1e6, "a second rollback goes forward");
});

Deno.test(
  "an upgrade whose daemon does not answer is rolled back by itself",
  { ignore },
  async () => {
    await using machine = new Machine();
    await using server = new ReleaseServer(await machine.releases());
    assertEquals((await machine.install(server.url, VERSION)).code, 0);
    Deno.writeTextFileSync(`${machine.depot}/file`, "kept");
    await until("it is uploaded", async () => (await run("ls", [machine.store])).stdout !== "");
    const { code, stderr } = await machine.install(server.url, "0.9.9");
    assertEquals(code, 3, stderr);
    assertStringIncludes(stderr, "Rolled back to the previous program");
    await until(
      "the old daemon answers",
      async () => (await machine.p4cache("status", "--json")).code === 0,
    );
    assertEquals(await machine.version(), VERSION);
    assertStringIncludes(Deno.readTextFileSync(`${machine.program}.failed`), "broken");
    assertEquals(Deno.readTextFileSync(`${machine.depot}/file`), "kept");
  },
);

Deno.test("uninstalling is refused while a file is dirty, and while nobody can tell", {
  ignore,
}, async () => {
  await using machine = new Machine();
  await using server = new ReleaseServer(await machine.releases());
  assertEquals((await machine.install(server.url, VERSION)).code, 0);
  // Its name in the storage is taken by a directory.
  Deno.mkdirSync(`${machine.store}/file`);
  Deno.writeTextFileSync(`${machine.depot}/file`, "only here");
  await until("it is dirty", async () => {
    const { files } = JSON.parse((await machine.p4cache("status", "--json")).stdout);
    return files.dirty + files.uploading > 0;
  });
  const dirty = await machine.install(server.url, VERSION, ["--uninstall"]);
  assertEquals(dirty.code, 1, dirty.stdout);
  assertMatch(dirty.stderr, /Cannot uninstall: .* (1 files are dirty|1 being uploaded)/);
  await run(`${machine.path}/tools/systemctl`, ["disable"], { env: machine.env });
  const down = await machine.install(server.url, VERSION, ["--uninstall"]);
  assertEquals(down.code, 1, down.stdout);
  assertStringIncludes(down.stderr, "Cannot tell whether all is uploaded");
  assert(Deno.statSync(machine.program).isFile);

  Deno.removeSync(`${machine.store}/file`);
  await run(`${machine.path}/tools/systemctl`, ["enable"], { env: machine.env });
  await until("it is uploaded", async () => (await machine.p4cache("flush", "--wait")).code === 0);
  const done = await machine.install(server.url, VERSION, ["--uninstall", "--purge"]);
  assertEquals(done.code, 0, done.stderr);
  assertStringIncludes(done.stdout, "stop p4-cache.service");
  assertEquals(Deno.readTextFileSync(`${machine.depot}/file`), "only here");
  assertEquals(
    (await run("ls", [`${machine.path}/bin`, `${machine.path}/systemd`])).stdout.includes(
      "p4-cache",
    ),
    false,
  );
});
