/**
 * Whether one kind of work keeps another waiting: `deno task bench:storm [--large-mib N] [--json FILE]`.
 *
 * - clients that ask for missing files while large ones are restored;
 * - small files that are written while a very large one is on its way up.
 *
 * @module
 */

import { delay } from "deno-std/async/delay.js";
import { statSync } from "node:fs";
import { DaemonProcess, TempDir, until } from "../e2e/daemon_process.ts";
import { type Figures, makeDir, option, report, statusOf, step } from "./measuring.ts";

const CLIENTS = 100, LARGE_FILES = 16;

/** Each client asks for one missing file in this time, ms. */
const ASK_EVERY_MS = 500;

/** Small files written in the fairness measurement, and how many at a time. */
const SMALL_FILES = 2000, AT_ONCE = 20, PAUSE_MS = 20, SMALL_BYTES = 4096;

/** Size of the very large file: mostly a hole, so that it needs no room; it is read and sent all the same. */
const VERY_LARGE_BYTES = 100 * 1024 ** 3;

function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)]!;
}

/** Time of a miss, ms, while large files are being restored. */
async function measureMisses(dir: string, largeBytes: number): Promise<Figures> {
  const store = makeDir(`${dir}/store`), depot = makeDir(`${dir}/depot`);
  const objects = makeDir(`${store}/depot`);
  for (let i = 0; i < LARGE_FILES; i++) {
    Deno.createSync(`${objects}/large${i}`).close();
    Deno.truncateSync(`${objects}/large${i}`, largeBytes);
  }
  const flags = ["--read-only", "--primary-type", "nfs", "--primary-path", objects];
  await using daemon = await DaemonProcess.start(depot, flags);
  const begun = performance.now();
  let isDone = false;
  const restores = Array.from({ length: LARGE_FILES }, (_, i) => daemon.fetch(`large${i}`));
  const restored = Promise.all(restores).finally(() => isDone = true);
  const tookMs: number[] = [];
  const ask = async (client: number) => {
    await delay(client * ASK_EVERY_MS / CLIENTS);
    for (let i = 0; !isDone; i++, await delay(ASK_EVERY_MS)) {
      const asked = performance.now();
      const answer = await daemon.fetch(`none/${client}/${i}`);
      if (answer !== "NOTFOUND") throw new Error(answer);
      tookMs.push(performance.now() - asked);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, (_, client) => ask(client)));
  for (const answer of await restored) if (!answer.startsWith("OK")) throw new Error(answer);
  const seconds = (performance.now() - begun) / 1000;
  return {
    "miss among restores, p50 ms": quantile(tookMs, 0.5),
    "miss among restores, p99 ms": quantile(tookMs, 0.99),
    "restores among misses, MB/s": LARGE_FILES * largeBytes / 1e6 / seconds,
  };
}

/** 99th percentile of the time from the write of a small file until it is uploaded, ms. */
async function ageOfSmall(dir: string, withLarge: boolean): Promise<number> {
  const store = makeDir(`${dir}/${withLarge}`), depot = makeDir(`${store}/depot`);
  const objects = makeDir(`${store}/objects`);
  const flags = ["--primary-type", "nfs", "--primary-path", objects];
  // The link is what the large file could take for itself; without a limit a disk would fill up.
  const daemon = await DaemonProcess.start(depot, [...flags, "--upload-bandwidth", "200MB"]);
  await using _ = daemon;
  if (withLarge) {
    Deno.createSync(`${depot}/large`).close();
    Deno.truncateSync(`${depot}/large`, VERY_LARGE_BYTES);
    Deno.openSync(`${depot}/large`, { write: true }).close();
    await until(
      "the large file is on its way",
      async () => (await statusOf(depot)).files.uploading > 0,
    );
  }
  const writtenMs: number[] = [];
  for (let i = 0; i < SMALL_FILES; i++) {
    writtenMs.push(Date.now());
    Deno.writeFileSync(`${depot}/small${i}`, new Uint8Array(SMALL_BYTES));
    if (i % AT_ONCE === AT_ONCE - 1) await delay(PAUSE_MS);
  }
  // An object's ctime is when it took its name.
  const agesMs: number[] = [];
  for (const [i, ms] of writtenMs.entries()) {
    const stored = () => statSync(`${objects}/small${i}`, { throwIfNoEntry: false });
    let object = stored();
    for (; object === undefined; object = stored()) await delay(PAUSE_MS);
    agesMs.push(object.ctimeMs - ms);
  }
  return quantile(agesMs, 0.99);
}

using dir = new TempDir(); // the restored files take 16 GiB
const largeBytes = Number(option("--large-mib") ?? 1024) * 1024 ** 2;
const misses = await step("misses among restores", measureMisses(dir.path, largeBytes));
const alone = await step("small files alone", ageOfSmall(dir.path, false));
const beside = await step("small files beside 100 GiB", ageOfSmall(dir.path, true));
const figures: Figures = {
  ...misses,
  "small file's upload, p99 ms": alone,
  "beside 100 GiB, p99 ms": beside,
  "beside 100 GiB, ×": beside / alone,
};
for (const [name, value] of Object.entries(figures)) {
  console.log(name.padEnd(40) + value.toFixed(2).padStart(10));
}
report({ directory: { figures, series: {} } });
