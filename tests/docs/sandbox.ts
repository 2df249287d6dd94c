/**
 * A machine that documents' commands can do what they like to: this one's files below an overlay, ports
 * of its own, p4-cache installed, a depot on a real filesystem, and stand-ins for what is not here
 * (systemd, p4d).
 *
 * @module
 */

import { run } from "../e2e/daemon_process.ts";

/** A command block, and how it is run. */
export interface Step {
  readonly script: string;
  /** Runs until somebody stops it: stopped after a few seconds, and that is no error. */
  readonly stops: boolean;
  /** Starts a daemon itself: the service is stopped before. */
  readonly starts: boolean;
}

/** How a block ended. */
export interface Ending {
  readonly code: number;
  readonly output: string;
}

/** What `timeout` says of a command it had to stop. */
const STOPPED = 124;

/** Programs that are not here. Each does what a reader would see of the real one. */
const STAND_INS: Readonly<Record<string, string>> = {
  sudo: 'exec env "$@"',
  systemctl: `
pid=/run/stand-in.pid
unit=/etc/systemd/system/p4-cache.service
start() {
    [ -s $pid ] && kill -0 "$(cat $pid)" 2>/dev/null && return
    set -a; [ ! -f /etc/p4-cache/env ] || . /etc/p4-cache/env; set +a
    setsid $(sed -n 's/^ExecStart=//p' $unit) >>/run/stand-in.log 2>&1 &
    echo $! > $pid
    for _ in 1 2 3 4 5 6 7 8 9 10; do p4-cache status >/dev/null 2>&1 && return; sleep 0.5; done
    cat /run/stand-in.log >&2; exit 1
}
stop() {
    for file in $pid /run/p4-cache.pid; do
        [ -s $file ] || continue
        kill "$(cat $file)" 2>/dev/null
        while kill -0 "$(cat $file)" 2>/dev/null; do sleep 0.1; done
        rm -f $file
    done
}
case "$*" in
    *p4d*) ;;
    "start p4-cache" | "enable --now p4-cache"*) start ;;
    "stop p4-cache") stop ;;
    "restart p4-cache") stop; start ;;
    "reload p4-cache"* | *--signal=HUP*) kill -HUP "$(cat $pid)" ;;
    "status p4-cache") p4-cache status ;;
esac`,
  // A day on which everything happened once; the messages are those of the program.
  journalctl: `cat /run/stand-in.log
cat <<'END'
WARN health: Degraded (backend_down): no answer
WARN upload: Upload failed (transient), will be tried again: main/a.c,v
ERROR restore: Restore failed: main/a.c,v: no answer
INFO scan: Comparing the whole depot with the manifest: regular
WARN replica: Cannot revalidate, the copy here is served: main/a.c,v: no answer
WARN access: Cannot keep the access log, accesses are lost: no space
ERROR scrub: missing_in_storage: main/a.c,v: it was uploaded, and is not there
END`,
  p4d: `cat "$P4CACHE_DEPOT/main/a.c,v" >/dev/null
/opt/p4d/p4d 600 >/dev/null 2>&1 &`,
  p4: ":",
  node_exporter: 'exec prometheus-node-exporter "$@"',
  // Another machine is another directory here.
  rsync: `for given; do
    shift
    case $given in -*) ;; *:*) given=/\${given%%:*}\${given#*:} ;; esac
    set -- "$@" "$given"
done
exec /usr/bin/rsync --mkpath "$@"`,
};

/** Makes the machine's tree at `$1`, and runs the steps in it. */
const DRIVER = `set -e
dir=$1
ip link set lo up
mount -t tmpfs tmpfs "$dir/layer"
mkdir "$dir/layer/upper" "$dir/layer/work" "$dir/layer/root"
root=$dir/layer/root
mount -t overlay -o "lowerdir=/,upperdir=$dir/layer/upper,workdir=$dir/layer/work" overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir -p "$root/mnt" "$root/sandbox" "$root/opt/p4d"
mount --bind "$dir/mnt" "$root/mnt"
mount --bind "$dir/box" "$root/sandbox"
cp "$root/bin/sleep" "$root/opt/p4d/p4d"
cp "$dir"/box/stand-ins/* "$root/usr/local/sbin/"
cd "$root/sandbox/work"
exec chroot "$root" /bin/sh /sandbox/steps
`;

/**
 * Runs the steps one after another on one machine.
 * @param release Folder of a release; it is installed first, and lies at `build/release` too.
 * @param before Shell that makes the machine as the document expects it.
 */
export async function runSteps(
  dir: string,
  release: string,
  before: string,
  steps: readonly Step[],
): Promise<Ending[]> {
  const box = `${dir}/box`;
  for (const name of ["layer", "mnt", "box", "box/work", "box/work/build", "box/stand-ins"]) {
    Deno.mkdirSync(`${dir}/${name}`);
  }
  await run("cp", ["-r", release, `${box}/work/build/release`]);
  for (const [name, text] of Object.entries(STAND_INS)) {
    Deno.writeTextFileSync(`${box}/stand-ins/${name}`, `#!/bin/sh\n${text}\n`, { mode: 0o755 });
  }
  const lines = [
    "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root NO_COLOR=1",
    "unset P4CACHE_DEPOT LD_PRELOAD; cd /sandbox/work",
    "{ " + before + "\n} > /sandbox/before.out 2>&1; echo $? > /sandbox/before.code",
  ];
  for (const [i, { script, stops, starts }] of steps.entries()) {
    Deno.writeTextFileSync(`${box}/${i}.sh`, script);
    const seconds = stops ? 4 : 60;
    if (starts) lines.push("systemctl stop p4-cache");
    lines.push(
      `timeout -k 5 ${seconds} bash -e /sandbox/${i}.sh > /sandbox/${i}.out 2>&1 < /dev/null`,
      `echo $? > /sandbox/${i}.code`,
    );
    if (starts) {
      lines.push("p4-cache status >/dev/null 2>&1 || systemctl start p4-cache >/dev/null 2>&1");
    }
  }
  Deno.writeTextFileSync(`${box}/steps`, lines.join("\n") + "\n");
  const flags = ["--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private"];
  const all = await run("unshare", [...flags, "sh", "-c", DRIVER, "sh", dir]);
  const ending = (name: string): Ending => {
    const read = (kind: string) => {
      try {
        return Deno.readTextFileSync(`${box}/${name}.${kind}`);
      } catch {
        return "";
      }
    };
    return { code: Number(read("code") || "255"), output: read("out") };
  };
  const prepared = ending("before");
  if (prepared.code !== 0) throw new Error(prepared.output + all.stderr);
  return steps.map(({ stops }, i) => {
    const { code, output } = ending(String(i));
    return { code: stops && code === STOPPED ? 0 : code, output };
  });
}
