/**
 * Whether the daemon's user may do with the depot what the daemon has to: put files back into its
 * directories, and read what is to be uploaded.
 *
 * Owner and mode are looked at, of the entries nearest to the top: a depot whose owner is wrong is so from
 * its first directories on.
 *
 * @module
 */

import { STATE_DIR } from "../depot_path.ts";
import { describeError } from "../observe/logging.ts";
import { fail, type Finding, ok, skip } from "./finding.ts";
import type { Machine } from "./machine_checks.ts";

/** Entries that are looked at. */
const MOST_ENTRIES = 2000;

/** See capabilities(7): reads and writes whatever the mode says. */
const CAP_DAC_OVERRIDE = 1n;

/** Bits of a mode for one of owner, group and others. */
const MAY_READ = 4, MAY_ENTER_AND_WRITE = 3;

const ADVICE = "run the daemon as p4d's user, or give the depot to the daemon's with chown -R";

/** Who a process is for the kernel. */
export interface Identity {
  readonly uid: number;
  readonly groups: readonly number[];
  readonly overridesModes: boolean;
}

/** What is read of a file. */
type Owned = Pick<Deno.FileInfo, "uid" | "gid" | "mode">;

/** Looks at the depot with the eyes of the daemon that runs. */
export function checkPermissions({ depot, daemon }: Machine): Finding {
  const name = "permissions";
  if (daemon === null) return skip(name, "no daemon runs");
  let who: Identity;
  try {
    who = identityOf(Deno.readTextFileSync(`/proc/${daemon.pid}/status`));
  } catch (error) {
    return skip(name, `cannot look at the daemon (pid ${daemon.pid}): ${describeError(error)}`);
  }
  return checkEntries(depot, who, daemon.mode === "readonly");
}

/**
 * The first entry that this user cannot use, if there is one.
 * @param isReplica Reads no files: what is there is p4d's affair.
 */
export function checkEntries(depot: string, who: Identity, isReplica: boolean): Finding {
  const name = "permissions";
  const dirs = [depot];
  let entries = 0;
  for (const dir of dirs) {
    try {
      const info = Deno.statSync(dir);
      if (!may(who, info, MAY_ENTER_AND_WRITE)) {
        return fail(
          name,
          `the daemon's user (uid ${who.uid}) may not write to ${dir} (${ownerOf(info)}): ` +
            "what is evicted there cannot come back",
          ADVICE,
        );
      }
      for (const entry of Deno.readDirSync(dir)) {
        if (entries++ > MOST_ENTRIES) break;
        const path = `${dir}/${entry.name}`;
        if (entry.isDirectory && entry.name !== STATE_DIR) dirs.push(path);
        if (!entry.isFile || isReplica) continue;
        const file = Deno.lstatSync(path);
        if (may(who, file, MAY_READ)) continue;
        return fail(
          name,
          `the daemon's user (uid ${who.uid}) may not read ${path} (${ownerOf(file)}): it is not ` +
            "uploaded",
          ADVICE,
        );
      }
    } catch (error) {
      // What went away meanwhile is no finding.
      if (!(error instanceof Deno.errors.NotFound)) return skip(name, describeError(error));
    }
    if (entries > MOST_ENTRIES) break;
  }
  return ok(name, `the daemon's user (uid ${who.uid}) may read and write the depot`);
}

/** The process. @param status Text of `/proc/PID/status`, see proc_pid_status(5). */
export function identityOf(status: string): Identity {
  const field = (name: string) => new RegExp(`^${name}:\\s*(.*)$`, "m").exec(status)![1]!.trim();
  const effective = (name: string) => Number(field(name).split(/\s+/)[1]);
  const capabilities = BigInt("0x" + field("CapEff"));
  return {
    uid: effective("Uid"),
    groups: [effective("Gid"), ...field("Groups").split(/\s+/).map(Number)],
    overridesModes: (capabilities >> CAP_DAC_OVERRIDE & 1n) === 1n,
  };
}

function may(who: Identity, { uid, gid, mode }: Owned, bits: number): boolean {
  if (who.overridesModes || mode === null) return true;
  const shift = uid === who.uid ? 6 : gid !== null && who.groups.includes(gid) ? 3 : 0;
  return (mode >> shift & bits) === bits;
}

function ownerOf({ uid, gid, mode }: Owned): string {
  return `uid ${uid}, gid ${gid}, mode ${((mode ?? 0) & 0o7777).toString(8).padStart(4, "0")}`;
}
