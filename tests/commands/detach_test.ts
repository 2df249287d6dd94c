/** Leaving the terminal: readiness, exit codes, the pid file. @module */

import { assert, assertEquals, assertStringIncludes, assertThrows } from "deno-std/assert/mod.js";
import { checkPidFile, deletePidFile, writePidFile } from "../../src/commands/pid_file.ts";

/** A stand-in for the program: detaches, then is ready, or fails before, as its argument says. */
const PROGRAM = (root: string) => `
import { detach, isDetached, leaveTerminal, removePidFile, reportReady } from
  "${root}src/commands/detach.ts";
const [what, pidFile, logFile] = Deno.args;
const config = { pidFile, logFile: logFile ?? null };
if (!isDetached()) Deno.exit(await detach(Deno.args, config));
leaveTerminal();
if (what === "fail") {
  console.error("p4-cache: Cannot watch the depot");
  Deno.exit(7);
}
await new Promise((resolve) => setTimeout(resolve, 50));
// As the daemon does: whoever hears of readiness may end us at once.
const ended = new Promise((resolve) => Deno.addSignalListener("SIGTERM", resolve));
reportReady(config);
await ended;
removePidFile(config);
Deno.exit(0);
`;

/** Runs the stand-in with its streams on pipes until they all are closed. */
async function runProgram(dir: string, ...args: string[]) {
  const root = new URL("../../", import.meta.url).href;
  const main = `${dir}/main.ts`;
  Deno.writeTextFileSync(main, PROGRAM(root));
  const config = new URL("../../deno.json", import.meta.url).pathname;
  // The copy is started as 'deno run -A main.ts': what it imports needs no import map.
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", `--config=${config}`, main, ...args],
  }).output();
  return { code: output.code, err: new TextDecoder().decode(output.stderr) };
}

async function inFolder(body: (dir: string) => Promise<void>): Promise<void> {
  const dir = Deno.makeTempDirSync({ prefix: "p4cache-detach-" });
  try {
    await body(dir);
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

/** Waits until the process is no more; it is not our child. */
async function ends(pid: number): Promise<void> {
  while (exists(`/proc/${pid}`) && stateOf(pid) !== "Z") {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Fields of `stat` after the name: state, parent, group, session. */
function fieldsOf(pid: number): string[] {
  const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** "Z" where nobody has asked for a dead one's exit code yet. */
function stateOf(pid: number): string {
  try {
    return fieldsOf(pid)[0]!;
  } catch {
    return "Z"; // gone in this moment
  }
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch {
    return false;
  }
}

Deno.test("the starter ends with 0 once the pid file holds the running daemon", () =>
  inFolder(async (dir) => {
    const pidFile = `${dir}/daemon.pid`;
    Deno.writeTextFileSync(pidFile, "999999999\n");
    const { code, err } = await runProgram(dir, "serve", pidFile);
    const pid = Number(Deno.readTextFileSync(pidFile));
    try {
      assertEquals(code, 0);
      assertStringIncludes(err, "detached without --log-file");
      assertEquals(fieldsOf(pid)[3], String(pid), "session");
      for (const descriptor of [0, 1, 2]) {
        assertEquals(Deno.readLinkSync(`/proc/${pid}/fd/${descriptor}`), "/dev/null");
      }
    } finally {
      Deno.kill(pid, "SIGTERM");
    }
    await ends(pid);
    assert(!exists(pidFile));
  }));

Deno.test("a daemon that fails before it is ready gives the starter its line and its code", () =>
  inFolder(async (dir) => {
    const { code, err } = await runProgram(dir, "fail", `${dir}/daemon.pid`);
    assertEquals({ code, err }, { code: 7, err: "p4-cache: Cannot watch the depot\n" });
    assert(!exists(`${dir}/daemon.pid`));
  }));

Deno.test("a daemon that cannot write its pid file is not ready", () =>
  inFolder(async (dir) => {
    const { code, err } = await runProgram(dir, "serve", `${dir}/none/daemon.pid`);
    assertEquals(code, 1);
    assertStringIncludes(err, `Cannot write the pid file ${dir}/none/daemon.pid: `);
  }));

Deno.test("whether the pid file can be written is found out without changing it", () =>
  inFolder((dir) => {
    const pidFile = `${dir}/daemon.pid`;
    checkPidFile(pidFile);
    assertEquals([...Deno.readDirSync(dir)].length, 0);
    Deno.writeTextFileSync(pidFile, "1\n");
    checkPidFile(pidFile);
    assertEquals(Deno.readTextFileSync(pidFile), "1\n");
    const lost = `${dir}/none/daemon.pid`;
    assertThrows(() => checkPidFile(lost), Error, `Cannot write the pid file ${lost}: `);
    Deno.mkdirSync(`${dir}/device`);
    assertThrows(
      () => checkPidFile(`${dir}/device`),
      Error,
      "something that is not a file is there",
    );
    return Promise.resolve();
  }));

Deno.test("the pid file of a successor is not removed", () =>
  inFolder((dir) => {
    const pidFile = `${dir}/daemon.pid`;
    writePidFile(pidFile);
    assertEquals(Deno.readTextFileSync(pidFile), `${Deno.pid}\n`);
    Deno.writeTextFileSync(pidFile, "1\n");
    deletePidFile(pidFile);
    assert(exists(pidFile));
    writePidFile(pidFile);
    deletePidFile(pidFile);
    assertEquals([...Deno.readDirSync(dir)].length, 0);
    return Promise.resolve();
  }));
