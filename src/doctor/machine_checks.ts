/**
 * Checks of the machine: kernel, capabilities, watching, mounts, room on the disk, descriptors.
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";
import { Watcher } from "../../ffi/watch.ts";
import type { Status } from "../admin/status.ts";
import { pathFromText } from "../depot_path.ts";
import type { Config } from "../config/config.ts";
import { describeError } from "../observe/logging.ts";
import { fail, type Finding, ok, skip, warn } from "./finding.ts";
import { identityOf } from "./permission_checks.ts";

/** FAN_RENAME, which tells a rename with both its names, came with Linux 5.17: fanotify_mark(2). */
const KERNEL_FOR_RENAMES: readonly [number, number] = [5, 17];

const CAP_SYS_ADMIN = 21n, CAP_LEASE = 28n;

/** Fewer descriptors than this are soon used up by connections and open files. */
const FEW_DESCRIPTORS = 4096;

const GIB = 1024 ** 3;

/** What the checks are about. @property daemon Null: none runs. */
export interface Machine {
  readonly depot: string;
  readonly config: Config | null;
  readonly daemon: Status | null;
}

/** Whether the kernel tells all that the watcher asks for. */
export function checkKernel(): Finding {
  const release = Deno.osRelease();
  const [major = 0, minor = 0] = release.split(".").map(Number);
  const [wantedMajor, wantedMinor] = KERNEL_FOR_RENAMES;
  const isNew = major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
  if (isNew) return ok("kernel", `Linux ${release}`);
  return warn(
    "kernel",
    `Linux ${release}: before 5.17 a rename is told as two events`,
    "use a newer kernel where you can; it works, with more comparisons of whole directories",
  );
}

/** What the daemon may do, or, where none runs, what we may. */
export function checkCapabilities({ depot, config, daemon }: Machine): Finding {
  const name = "capabilities";
  if (config?.readOnly ?? daemon?.mode === "readonly") return ok(name, "a replica needs none");
  const who = daemon === null ? "this process" : `the daemon (pid ${daemon.pid})`;
  let effective: bigint;
  try {
    effective = effectiveCapabilities(daemon?.pid ?? Deno.pid);
  } catch (error) {
    return skip(name, `cannot look at ${who}: ${describeError(error)}`);
  }
  const has = (capability: bigint) => (effective >> capability & 1n) === 1n;
  if (!has(CAP_SYS_ADMIN)) {
    const fix = "run it as root, or: setcap cap_sys_admin,cap_lease+ep p4-cache";
    const what = `${who} has no CAP_SYS_ADMIN: fanotify refuses to watch`;
    return daemon === null && Deno.uid() !== 0 ? warn(name, what, fix) : fail(name, what, fix);
  }
  if (has(CAP_LEASE) || isOwner(daemon?.pid ?? Deno.pid, depot)) {
    return ok(name, `${who} has all it needs`);
  }
  return warn(
    name,
    `${who} lacks CAP_LEASE: files of other users are not evicted`,
    "run it as the files' owner, or add CAP_LEASE to the unit or to the binary (setcap)",
  );
}

/** Whether changes of the depot can be noticed, and how. */
export function checkWatching({ depot, config, daemon }: Machine): Finding {
  const name = "watching";
  if (config?.readOnly ?? daemon?.mode === "readonly") return ok(name, "a replica does not watch");
  let mode = daemon?.watching ?? null;
  if (mode === null) {
    try {
      const watcher = Watcher.open(pathFromText(depot));
      mode = watcher.mode;
      watcher.stop();
      watcher.close();
    } catch (error) {
      const fix = "run as root or with CAP_SYS_ADMIN, on a local filesystem";
      const what = describeError(error);
      return Deno.uid() === 0 ? fail(name, what, fix) : skip(name, `${what}; try as root`);
    }
  }
  if (mode.startsWith("filesystem mark")) return ok(name, mode);
  return warn(
    name,
    `${mode}: writes through another mount of the filesystem may be missed until the next comparison`,
    "put the depot on ext4 or xfs, or lower reconcile_interval",
  );
}

/** Whether the daemon sees the same directory as we do. */
export function checkNamespace({ depot, daemon }: Machine): Finding {
  const name = "mounts";
  if (daemon === null) return skip(name, "no daemon runs");
  const inside = `/proc/${daemon.pid}/root${depot}`;
  try {
    const ours = Deno.statSync(depot), theirs = Deno.statSync(inside);
    if (ours.dev === theirs.dev && ours.ino === theirs.ino) {
      return ok(name, "the daemon sees the same depot as this shell");
    }
    return fail(
      name,
      `the daemon sees another directory at ${depot}: its mount namespace differs`,
      "mount the depot before the daemon starts, and take PrivateMounts= and the like from its unit",
    );
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) {
      return fail(
        name,
        `the daemon sees nothing at ${depot}`,
        "restart it after the depot is mounted",
      );
    }
    return skip(name, `cannot look into the daemon's mounts: ${describeError(error)}`);
  }
}

/** Space and inodes of the depot's filesystem, against the settings. */
export function checkDisk({ depot, config, daemon }: Machine): Finding[] {
  const name = "disk";
  let space: Status["disk"];
  try {
    const files = new DepotFiles(pathFromText(depot));
    space = files.space();
    files.close();
  } catch (error) {
    return [fail(name, describeError(error), "mount the depot, or correct depot_path")];
  }
  const findings: Finding[] = [];
  const percent = space.totalBytes === 0 ? 100 : 100 * space.freeBytes / space.totalBytes;
  const free = `${(space.freeBytes / GIB).toFixed(1)} GiB of ` +
    `${(space.totalBytes / GIB).toFixed(1)} GiB free`;
  const wanted = config?.healthDiskFreePercent ?? 5;
  if (percent < wanted) {
    const fix = "lower low_watermark_gb, or set min_free_gb so that eviction keeps room";
    findings.push((percent < 1 ? fail : warn)(name, `${free}, less than ${wanted} %`, fix));
  } else findings.push(ok(name, free));
  const maxBytes = config?.maxCacheBytes ?? daemon?.cache.maxBytes ?? 0;
  if (maxBytes > space.totalBytes) {
    findings.push(warn(
      name,
      `the cache may hold ${(maxBytes / GIB).toFixed(1)} GiB, more than the whole filesystem`,
      "set max_cache_gb and low_watermark_gb below its size",
    ));
  }
  if (space.totalInodes > 0 && space.freeInodes < space.totalInodes / 100) {
    findings.push(warn(
      name,
      `${space.freeInodes} of ${space.totalInodes} inodes are free`,
      "set min_free_inodes, or make the filesystem anew with more inodes",
    ));
  }
  return findings;
}

/** Whether the daemon may open as many files as it can need. */
export function checkDescriptors({ daemon }: Machine): Finding {
  const name = "descriptors";
  if (daemon === null) return skip(name, "no daemon runs");
  try {
    const limits = Deno.readTextFileSync(`/proc/${daemon.pid}/limits`);
    const soft = Number(/^Max open files +(\d+)/m.exec(limits)?.[1]);
    if (!(soft < FEW_DESCRIPTORS)) return ok(name, `the daemon may open ${soft} files`);
    return warn(
      name,
      `the daemon may only open ${soft} files`,
      "set LimitNOFILE=65536 in its unit",
    );
  } catch (error) {
    return skip(name, `cannot look at the daemon's limits: ${describeError(error)}`);
  }
}

/** Of the depot, and so of the files that p4d makes there, as p4d runs as the same user. */
function isOwner(pid: number, depot: string): boolean {
  try {
    const { uid } = identityOf(Deno.readTextFileSync(`/proc/${pid}/status`));
    return Deno.statSync(depot).uid === uid;
  } catch {
    return false;
  }
}

function effectiveCapabilities(pid: number): bigint {
  const text = Deno.readTextFileSync(`/proc/${pid}/status`);
  return BigInt("0x" + /^CapEff:\s*([0-9a-f]+)/m.exec(text)![1]!);
}
