/**
 * A machine to install on: places of its own, and in place of systemd a script that starts what the
 * installed unit says.
 *
 * @module
 */

import { type Outcome, run, TempDir } from "../e2e/daemon_process.ts";
import {
  binaryName,
  makeRelease,
  pipeInstaller,
  scriptRelease,
  VERSION,
} from "./release_folder.ts";

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
export class Machine implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly path = this.#dir.path;
  readonly depot = `${this.path}/depot`;
  readonly store = `${this.path}/store`;
  readonly program = `${this.path}/bin/p4-cache`;
  readonly config = `${this.path}/etc/config.json`;
  readonly env: Record<string, string>;

  /** @param settings Beside depot and storage. */
  constructor(settings: Record<string, unknown> = {}) {
    const { path } = this;
    for (const dir of ["depot", "store", "etc", "tools", "state", "releases", "run"]) {
      Deno.mkdirSync(`${path}/${dir}`);
    }
    Deno.writeTextFileSync(`${path}/tools/systemctl`, SYSTEMCTL, { mode: 0o755 });
    // The real one would make files of this machine.
    Deno.writeTextFileSync(`${path}/tools/systemd-tmpfiles`, "#!/bin/sh\n", { mode: 0o755 });
    const primary = { type: "nfs", path: this.store };
    Deno.writeTextFileSync(
      this.config,
      JSON.stringify({ depot_path: this.depot, primary, ...settings }),
    );
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
      FISH_DIR: `${path}/fish`,
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

  /** What systemctl is told: start ("enable"), "restart", stop ("disable"). */
  async systemctl(verb: "enable" | "restart" | "disable"): Promise<void> {
    await run(`${this.path}/tools/systemctl`, [verb], { env: this.env });
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
    await this.systemctl("disable");
    this.#dir[Symbol.dispose]();
  }
}
