/**
 * A systemd of our own: this machine's, booted in namespaces, with every change to its files kept in
 * memory. What it does not share with the machine: processes, mounts, control groups, host name. What it
 * shares: the network, and the directories that are handed to it.
 *
 * @module
 */

import { type Outcome, run, TempDir, until } from "../e2e/daemon_process.ts";

/** Where the hierarchy of control groups (version 2) may be, best first. */
const CGROUPS = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/** Boots: $1 folder for the system, $2 directories that it shares, one a line. See systemd(1), CONTAINER_INTERFACE. */
const BOOT = `set -eu
root=$1/root
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$root" "$1/upper" "$1/work"
mount -t overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" overlay "$root"
for dir in run tmp; do mount -t tmpfs -o mode=1777 tmpfs "$root/$dir"; done
chmod 755 "$root/run"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t proc proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
echo "$2" | while read -r dir; do
    mkdir -p "$root$dir"
    mount --bind "$dir" "$root$dir"
done
rm -rf "$root"/etc/systemd/system/p4-cache* "$root/etc/p4-cache"
ln -sfn /dev/null "$root/etc/systemd/system/timers.target"
mkdir "$1/outside" "$root/outside"
cd "$root"
pivot_root . outside
umount -l /outside
exec env -i container=test PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \\
    /lib/systemd/systemd --system --unit=basic.target --show-status=no
`;

/** Why no systemd can be booted here; null: it can. */
export function whyNoSystemd(): string | null {
  if (Deno.uid() !== 0) return "it needs root";
  try {
    Deno.statSync("/lib/systemd/systemd");
  } catch {
    return "systemd is not installed";
  }
  if (!Deno.readTextFileSync("/proc/filesystems").includes("\toverlay\n")) {
    return "the kernel has no overlay filesystem";
  }
  return cgroupRoot() === null ? "there are no control groups of version 2 that may be made" : null;
}

function cgroupRoot(): string | null {
  return CGROUPS.find((dir) => {
    try {
      Deno.statSync(`${dir}/cgroup.procs`);
      Deno.mkdirSync(`${dir}/p4cache-probe-${Deno.pid}`);
      Deno.removeSync(`${dir}/p4cache-probe-${Deno.pid}`);
      return true;
    } catch {
      return false;
    }
  }) ?? null;
}

/** See the module's description. */
export class BootedSystemd implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly #cgroup = `${cgroupRoot()}/p4cache-test-${crypto.randomUUID().slice(0, 8)}`;
  readonly #outer: Deno.ChildProcess;
  #pid = "";

  private constructor(shared: readonly string[]) {
    Deno.mkdirSync(this.#cgroup);
    const namespaces = "--mount --pid --fork --kill-child --cgroup --uts --ipc".split(" ");
    // In its group before the namespace is made: that is then the root of what systemd sees.
    this.#outer = new Deno.Command("sh", {
      args: [
        ...["-c", 'echo $$ > "$0/cgroup.procs" && exec unshare "$@"', this.#cgroup],
        ...[...namespaces, "sh", "-c", BOOT, "sh", this.#dir.path, shared.join("\n")],
      ],
      stdin: "null",
      stdout: "null",
      stderr: "inherit",
    }).spawn();
  }

  /** @param shared Directories that are the same inside and outside. */
  static async boot(shared: readonly string[]): Promise<BootedSystemd> {
    const system = new BootedSystemd(shared);
    const { pid } = system.#outer;
    let ended = false;
    void system.#outer.status.then(() => ended = true);
    await until("systemd has started", async () => {
      if (ended) throw new Error("systemd ended");
      const children = `/proc/${pid}/task/${pid}/children`;
      system.#pid = Deno.readTextFileSync(children).trim();
      if (system.#pid === "") return false;
      return (await system.run("systemctl", "is-active", "basic.target")).stdout === "active\n";
    });
    return system;
  }

  /** Runs a program inside. */
  run(...command: string[]): Promise<Outcome> {
    const into = ["--target", this.#pid, "--mount", "--pid", "--cgroup", "--uts", "--ipc"];
    const env = ["env", "-i", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
    return run("nsenter", [...into, "--wdns=/", ...env, ...command]);
  }

  /** Runs a program inside. @throws Error with what it printed and the last of the journal, when it fails. */
  async must(...command: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...command);
    if (code === 0) return stdout;
    const journal = await this.run("journalctl", "--no-pager", "--lines=20");
    throw new Error(
      `${command.join(" ")}: exit ${code}\n${stdout}${stderr}Journal:\n${journal.stdout}`,
    );
  }

  /** A property of a unit, as `systemctl show` prints it. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.must("systemctl", "show", "--value", `--property=${name}`, unit)).trim();
  }

  /** What a unit logged. */
  async journal(unit: string): Promise<string> {
    await this.must("journalctl", "--sync");
    return await this.must("journalctl", "--no-pager", "--output=cat", `--unit=${unit}`);
  }

  /** Writes a file inside. */
  async write(path: string, text: string): Promise<void> {
    await this.must("sh", "-c", 'mkdir -p "$(dirname "$0")" && printf %s "$1" > "$0"', path, text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#outer.kill("SIGKILL"); // takes everything inside along
    await this.#outer.status;
    await until("its processes are gone", async () => {
      const { code } = await run("find", [this.#cgroup, "-depth", "-type", "d", "-delete"]);
      return code === 0;
    });
    this.#dir[Symbol.dispose]();
  }
}
