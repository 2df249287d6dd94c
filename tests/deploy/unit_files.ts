/**
 * Reads systemd units, and runs the daemon as they say, without systemd: user, capabilities, mount
 * namespace. Rules: systemd.exec(5), systemd.syntax(7).
 *
 * @module
 */

import { run } from "../e2e/daemon_process.ts";

/** Folder of the units. */
export const UNITS = new URL("../../docs/deploy/systemd/", import.meta.url).pathname;

/** `Name=value` lines of a unit, in order. */
export function unitLines(name: string): [string, string][] {
  const text = Deno.readTextFileSync(UNITS + name).replaceAll(/\\\n\s*/g, " ");
  return text.split("\n").filter((line) => /^[A-Za-z]+=/.test(line)).map((line) => {
    const at = line.indexOf("=");
    return [line.slice(0, at), line.slice(at + 1)];
  });
}

/** The last value of a setting; empty when it is not there. */
export function setting(name: string, key: string): string {
  return unitLines(name).findLast(([found]) => found === key)?.[1] ?? "";
}

/** The system calls that the unit's `SystemCallFilter=` lines leave. */
export async function allowedCalls(name: string): Promise<Set<string>> {
  const { stdout } = await run("systemd-analyze", ["--no-pager", "syscall-filter"]);
  const groups = new Map<string, string[]>();
  let members: string[] = [];
  for (const line of stdout.split("\n")) {
    const entry = line.trim();
    if (line.startsWith("@")) groups.set(entry, members = []);
    else if (entry !== "" && !entry.startsWith("#")) members.push(entry);
  }
  const expand = (entry: string): string[] =>
    entry.startsWith("@") ? (groups.get(entry) ?? []).flatMap(expand) : [entry];
  const allowed = new Set(expand("@default"));
  for (const [key, value] of unitLines(name)) {
    if (key !== "SystemCallFilter") continue;
    const denies = value.startsWith("~");
    for (const call of value.slice(denies ? 1 : 0).split(" ").flatMap(expand)) {
      if (denies) allowed.delete(call);
      else allowed.add(call);
    }
  }
  return allowed;
}

/** Any user that is not root and owns nothing. */
export const USER = 65534;

/**
 * The start of a command line that runs a program as a service of this unit runs: in a mount namespace
 * of its own with `ProtectSystem`, `ProtectHome`, `PrivateTmp`, `ProtectProc` and `ProcSubset`, as
 * another user, with the unit's capabilities alone.
 */
export function asUnit(name: string): string[] {
  const readOnly = ["/usr", "/boot", "/etc"].map((dir) =>
    `[ ! -d ${dir} ] || { mount --rbind ${dir} ${dir} && mount -o remount,bind,ro ${dir}; }`
  );
  const hidden = ["/home", "/root", "/tmp", "/var/tmp"].map((dir) =>
    `mount -t tmpfs -o mode=1777 tmpfs ${dir}`
  );
  const subset = setting(name, "ProcSubset") === "pid" ? ",subset=pid" : "";
  const lines = [
    "set -e",
    "mount --make-rslave /",
    ...setting(name, "ProtectSystem") === "full" ? readOnly : [],
    ...hidden,
    `mount -t proc -o hidepid=${setting(name, "ProtectProc")}${subset} proc /proc`,
    'exec "$@"',
  ];
  const capabilities = setting(name, "AmbientCapabilities").split(" ").filter((cap) => cap !== "");
  const sets = ["-all", ...capabilities.map((cap) => cap.toLowerCase().replace("cap_", "+"))]
    .join();
  // Two namespaces: proc(5) shows the processes of the one it is mounted in.
  return [
    ..."unshare --mount --propagation unchanged --pid --fork --kill-child=SIGTERM sh -c".split(" "),
    lines.join("\n"),
    "sh",
    "setpriv",
    `--reuid=${USER}`,
    `--regid=${USER}`,
    "--clear-groups",
    `--inh-caps=${sets}`,
    `--ambient-caps=${sets}`,
    `--bounding-set=${sets}`,
    "--no-new-privs",
  ];
}
