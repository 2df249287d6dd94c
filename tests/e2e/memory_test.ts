/** What a load made the daemon take is given back when the load is over. @module */

import { assert } from "deno-std/assert/mod.js";
import { askDaemon } from "../../src/commands/control_client.ts";
import type { Status } from "../../src/admin/status.ts";
import { DaemonProcess, mayWatch, TempDir, until } from "./daemon_process.ts";

const FILES = 12_000, FILES_OF_A_DIRECTORY = 500;

function writeFiles(depot: string): void {
  for (let i = 0; i < FILES; i++) {
    const dir = `${depot}/${Math.floor(i / FILES_OF_A_DIRECTORY)}`;
    if (i % FILES_OF_A_DIRECTORY === 0) Deno.mkdirSync(dir);
    Deno.writeTextFileSync(`${dir}/${i}`, "a revision");
  }
}

Deno.test({
  name: "memory that a load took is given back seconds after it",
  ignore: !mayWatch(),
  async fn() {
    using dir = new TempDir();
    const depot = `${dir.path}/depot`, store = `${dir.path}/store`;
    Deno.mkdirSync(depot);
    Deno.mkdirSync(store);
    const args = ["--primary-type", "nfs", "--primary-path", store];
    await using daemon = await DaemonProcess.start(depot, args);
    const before = daemon.anonymousMib;
    writeFiles(depot);
    let most = 0;
    await until("all is stored", async () => {
      most = Math.max(most, daemon.anonymousMib);
      return (await askDaemon<Status>(depot, "status")).totals.uploadsOk >= FILES;
    });
    assert(most > before + 24, `the load takes memory: ${before}, then ${most} MiB`);
    await until("it is given back", () => daemon.anonymousMib < before + 12);
  },
});
