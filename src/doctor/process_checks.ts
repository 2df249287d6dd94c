/**
 * Checks of what runs: the daemon, and p4d under its library.
 *
 * @module
 */

import type { Status } from "../admin/status.ts";
import { describeError } from "../observe/logging.ts";
import { VERSION } from "../version.ts";
import { fail, type Finding, ok, skip, warn } from "./finding.ts";
import { type ShimState, shimState } from "./shim_state.ts";

/** Names of p4d processes: `p4d`, and those with a version or instance behind it, as SDP has them. */
const P4D = /^p4d(_.*)?$/;

/** @param why Why no daemon was reached. */
export function checkDaemon(daemon: Status | null, why: string): Finding[] {
  const name = "daemon";
  if (daemon === null) {
    // Whoever may not ask it cannot tell whether it runs either.
    const fix = /may not be used/.test(why)
      ? "run doctor as root or the daemon's user"
      : "start it: systemctl start p4-cache; the rest is looked at without it";
    return [warn(name, why, fix)];
  }
  const findings = [ok(name, `p4-cache ${daemon.version}, pid ${daemon.pid}, ${daemon.state}`)];
  if (daemon.version !== VERSION) {
    findings.push(warn(
      name,
      `it runs version ${daemon.version}, this program is ${VERSION}`,
      "restart it: systemctl restart p4-cache",
    ));
  }
  for (const { condition, reason } of daemon.degraded) {
    const fix = `see 'p4-cache status' and the log; docs/troubleshooting.md tells of ${condition}`;
    findings.push((daemon.state === "failing" ? fail : warn)(name, `${condition}: ${reason}`, fix));
  }
  if (daemon.drained !== null) {
    findings.push(warn(name, `nothing is evicted: ${daemon.drained}`, "p4-cache undrain"));
  }
  return findings;
}

/** Whether every p4d has the library, for this depot. */
export function checkShim(depot: string): Finding[] {
  const name = "shim";
  const findings: Finding[] = [];
  for (const pid of p4dProcesses()) {
    try {
      findings.push(shimFinding(shimState(pid), depot));
    } catch (error) {
      findings.push(skip(name, describeError(error)));
    }
  }
  return findings.length === 0 ? [skip(name, "no p4d runs here")] : findings;
}

function shimFinding(state: ShimState, depot: string): Finding {
  const name = "shim";
  const p4d = `p4d (pid ${state.pid})`;
  const preload = `start it with LD_PRELOAD=/usr/local/lib/libp4shim.so P4CACHE_DEPOT=${depot}`;
  if (state.library === null) {
    return fail(
      name,
      `${p4d} does not run under the shim: it does not find evicted files`,
      preload,
    );
  }
  if (state.depot === null) {
    return fail(name, `${p4d} has the shim, but not P4CACHE_DEPOT: it does nothing`, preload);
  }
  if (realPath(state.depot) !== realPath(depot)) {
    return warn(name, `${p4d} has the shim for another depot, ${state.depot}`, preload);
  }
  if (state.replaced) {
    return warn(
      name,
      `${p4d} has an older library than the one installed`,
      "restart p4d when it suits",
    );
  }
  return ok(name, `${p4d} runs under ${state.library} ${state.version ?? ""}`.trimEnd());
}

function p4dProcesses(): number[] {
  return Array.from(Deno.readDirSync("/proc"), (entry) => Number(entry.name))
    .filter((pid) => Number.isInteger(pid) && pid > 0 && P4D.test(nameOf(pid)))
    .sort((a, b) => a - b);
}

function nameOf(pid: number): string {
  try {
    return Deno.readTextFileSync(`/proc/${pid}/comm`).trim();
  } catch {
    return ""; // ended since
  }
}

function realPath(path: string): string {
  try {
    return Deno.realPathSync(path);
  } catch {
    return path;
  }
}
