/** One depot under the supervisor, with a shell script in place of the daemon. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { DepotProcess } from "../../src/commands/run_depot.ts";
import { NO_LIMIT } from "../../src/commands/run_shares.ts";
import type { Config } from "../../src/config/config.ts";
import { getLog } from "../../src/observe/logging.ts";
import { until } from "../e2e/daemon_process.ts";

const REPORT = `'{"state":"healthy","shares":{"up":5,"down":null,"memory":null}}'`;

/** A depot whose daemon is the script; `lines` gets its log. */
async function withDepot(
  script: string,
  test: (depot: DepotProcess, lines: string[]) => Promise<void>,
  load: () => Config = () => ({ depotPath: "/nowhere" }) as Config,
): Promise<void> {
  const lines: string[] = [];
  const depot = new DepotProcess({
    file: { name: "a", path: "a.json" },
    program: ["sh", "-c", script, "sh"],
    load,
    firstShares: () => ({ ...NO_LIMIT, up: 5 }),
    onLine: (line) => lines.push(line),
    onChange: () => {},
    log: getLog("run"),
  });
  try {
    await test(depot, lines);
  } finally {
    depot.stop();
    await depot.done;
  }
}

Deno.test("a daemon gets its configuration and its first shares, serves when it reports, and ends with its input", async () => {
  const script = `read shares; echo "$* $shares" >&2; echo ${REPORT}; read more; echo bye >&2`;
  await withDepot(script, async (depot, lines) => {
    assertEquals(depot.state, "starting");
    await until("it serves", () => depot.state === "serving");
    assertEquals(lines, ['--config a.json {"up":5,"down":null,"memory":null}']);
    assertEquals(depot.held.up, 5);
    // More may be in use until the daemon has said otherwise.
    depot.share({ ...NO_LIMIT, up: 3 });
    assertEquals(depot.held.up, 5);
    depot.stop();
    await depot.done;
    assertEquals([depot.state, depot.restarts, lines.at(-1)], ["stopped", 0, "bye"]);
  });
});

Deno.test("what the supervisor tells its own manager with is not the daemon's", async () => {
  Deno.env.set("NOTIFY_SOCKET", "/none");
  try {
    await withDepot(`echo "[$NOTIFY_SOCKET]" >&2; read x; read x`, async (_, lines) => {
      await until("it says so", () => lines.length > 0);
      assertEquals(lines, ["[]"]);
    });
  } finally {
    Deno.env.delete("NOTIFY_SOCKET");
  }
});

Deno.test("a daemon that is silent for a minute is killed, one that reports is not", async () => {
  await withDepot(`read shares; echo ${REPORT}; exec sleep 1000`, async (depot) => {
    await until("it serves", () => depot.state === "serving");
    for (let look = 1; look < 60; look++) depot.look();
    assertEquals(depot.state, "serving");
    depot.look();
    await until("it is killed", () => depot.state === "failed");
    assertEquals(depot.why, "ended by SIGKILL");
    assertEquals(depot.held, { up: 0, down: 0, memory: 0 });
  });
});

Deno.test("a daemon that ends is started again, and at once after a reload", async () => {
  await withDepot("echo 'cannot start' >&2; exit 1", async (depot) => {
    await until("it failed", () => depot.state === "failed");
    assertEquals(depot.why, "exit code 1 (cannot start)");
    for (let n = 1; n <= 5; n++) {
      // The pauses would take half a minute.
      depot.reload();
      await until("it failed again", () => depot.restarts === n && depot.state === "failed");
    }
  });
});

Deno.test("a configuration that may not be used starts nothing until it may", async () => {
  let problem = "it is wrong";
  const load = () => {
    if (problem !== "") throw new Error(problem);
    return { depotPath: "/nowhere" } as Config;
  };
  await withDepot(`read shares; echo ${REPORT}; read more`, async (depot) => {
    await until("it failed", () => depot.state === "failed");
    assertStringIncludes(depot.why, "it is wrong");
    assertEquals([depot.pid, depot.config], [null, null]);
    problem = "";
    depot.reload();
    await until("it serves", () => depot.state === "serving");
  }, load);
});
