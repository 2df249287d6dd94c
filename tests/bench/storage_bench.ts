/**
 * Speed of the S3 backend against an endpoint: `deno run -A tests/bench/storage_bench.ts URL [BUCKET]`.
 *
 * Keys come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Objects are left under the prefix
 * `p4cache-bench`. CPU time is this process's, user and system, all threads.
 *
 * @module
 */

import type { DepotPath } from "../../src/cache/depot_path.ts";
import { SLICE_BYTES } from "../../src/storage/backend.ts";
import { openBackend } from "../../src/storage/open_backend.ts";
import { RetryingBackend } from "../../src/storage/retrying.ts";
import { contentOf, never, someBytes } from "../storage/contents.ts";
import { s3Config } from "../storage/versitygw.ts";

const SMALL = 20_000, SMALL_BYTES = 4096, IN_FLIGHT = 64, LARGE_BYTES = 256 * 1024 * 1024;

/** Ticks of 10 ms that this process has used (proc(5), utime and stime). */
function cpuMs(): number {
  const fields = Deno.readTextFileSync("/proc/self/stat").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

async function measure(call: () => Promise<unknown>): Promise<{ ms: number; cpu: number }> {
  const cpu = cpuMs(), start = performance.now();
  await call();
  return { ms: performance.now() - start, cpu: cpuMs() - cpu };
}

async function inFlight(count: number, width: number, call: (i: number) => Promise<unknown>) {
  let next = 0;
  const worker = async () => {
    while (next < count) await call(next++);
  };
  await Promise.all(Array.from({ length: width }, worker));
}

const [endpoint, bucket = "bench"] = Deno.args;
if (endpoint === undefined) throw new Error("Give the endpoint: http://host:port");
const backend = new RetryingBackend(
  await openBackend(s3Config(endpoint, {
    bucket,
    region: Deno.env.get("AWS_REGION") ?? "us-east-1",
    accessKey: null,
    secretKey: null,
    prefix: "p4cache-bench",
  })),
);
const path = (i: number) => `small/${i % 100}/${i},v` as DepotPath;
const content = contentOf(someBytes(SMALL_BYTES));
const operations: [string, (i: number) => Promise<unknown>][] = [
  ["PUT", (i) => backend.put(path(i), content, never)],
  ["GET", (i) => backend.getRange(path(i), 0, SLICE_BYTES, { signal: never })],
  ["HEAD", (i) => backend.head(path(i), never)],
];
for (const [name, call] of operations) {
  await inFlight(2000, IN_FLIGHT, call);
  const { ms, cpu } = await measure(() => inFlight(SMALL, IN_FLIGHT, call));
  const rate = Math.round(SMALL / ms * 1000), each = Math.round(cpu * 1000 / SMALL);
  console.log(`${name} ${SMALL_BYTES} bytes: ${rate}/s, CPU ${each} us each`);
}
const large = contentOf(someBytes(LARGE_BYTES)), largePath = "large" as DepotPath;
const report = (name: string, { ms, cpu }: { ms: number; cpu: number }) =>
  console.log(
    `${name} ${LARGE_BYTES >> 20} MiB: ${Math.round((LARGE_BYTES >> 20) / ms * 1000)} MiB/s, ` +
      `CPU ${(cpu / 1000 / (LARGE_BYTES / 2 ** 30)).toFixed(2)} s/GiB`,
  );
report("PUT", await measure(() => backend.put(largePath, large, never)));
report(
  "GET",
  await measure(() =>
    inFlight(
      LARGE_BYTES / SLICE_BYTES,
      6,
      (i) => backend.getRange(largePath, i * SLICE_BYTES, SLICE_BYTES, { signal: never }),
    )
  ),
);
await backend.close();
