/**
 * The daemon's side of `p4-cache run`: one process of several under a supervisor.
 *
 * Standard input and output are the line to it, one JSON object a line. From it: the shares that this
 * daemon may use. To it: how the daemon is, what it uses, and the shares it knows. Its end is the end
 * of the daemon too. Members that one side does not know it leaves alone.
 *
 * @module
 */

import { TextLineStream } from "deno-std/streams/mod.js";
import type { HealthState } from "../observe/health_watch.ts";
import { NO_LIMIT, type Shares } from "./run_shares.ts";

/** Set in the environment of a supervised daemon. */
export const SUPERVISED = "P4CACHE_SUPERVISED";

/** Time between two reports, ms. */
const REPORT_MS = 1000;

/** Whether this process is a supervised daemon. */
export function isSupervised(): boolean {
  return Deno.env.has(SUPERVISED);
}

/** What a daemon tells of itself; it is told first when it serves. */
export interface Report {
  readonly state: HealthState;
  /** Bytes since the start. */
  readonly upBytes: number;
  readonly downBytes: number;
  /** Bytes in memory now. */
  readonly memoryBytes: number;
  /** Whether something waits for more of each. */
  readonly isWaiting: { readonly up: boolean; readonly down: boolean; readonly memory: boolean };
  /** In force. */
  readonly shares: Shares;
}

/** The line to the supervisor. */
export interface SupervisorLine {
  /** In force now. */
  readonly shares: Shares;
  /** Resolves when the supervisor wants the daemon to end, or is gone itself. */
  readonly ended: Promise<string>;
  /** Begins to report: at once, from time to time, and when the shares are others. */
  report(read: () => Omit<Report, "shares">): void;
}

/** The line of a daemon that nobody supervises: no limits, no end. */
const NOBODY: SupervisorLine = {
  shares: NO_LIMIT,
  ended: new Promise(() => {}),
  report: () => {},
};

/** Takes up the line, and waits for the first shares. */
export async function callSupervisor(): Promise<SupervisorLine> {
  if (!isSupervised()) return NOBODY;
  const lines = Deno.stdin.readable.pipeThrough(new TextDecoderStream())
    .pipeThrough(new TextLineStream()).values();
  let shares = NO_LIMIT;
  let send: () => void = () => {};
  const next = async () => {
    const { value } = await lines.next();
    if (value === undefined) return false;
    shares = { ...NO_LIMIT, ...JSON.parse(value) };
    return true;
  };
  const goesOn = await next();
  const listen = async () => {
    while (goesOn && await next()) send();
    return "The supervisor asks for it";
  };
  return {
    get shares() {
      return shares;
    },
    ended: listen(),
    report: (read) => {
      send = reporter(() => ({ ...read(), shares }));
      send();
      Deno.unrefTimer(setInterval(() => send(), REPORT_MS));
    },
  };
}

/** Sends a report; while the one before is not taken, none is made. */
function reporter(read: () => Report): () => void {
  const writer = Deno.stdout.writable.getWriter();
  let isBusy = false;
  return () => {
    if (isBusy) return;
    isBusy = true;
    const line = new TextEncoder().encode(JSON.stringify(read()) + "\n");
    // Nobody there: the line's end says so, too.
    writer.write(line).catch(() => {}).finally(() => isBusy = false);
  };
}
