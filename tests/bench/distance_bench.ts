/**
 * Storage that is far away: `deno task bench:distance [--dir DIR] [--json FILE]`. A real S3 server on the
 * same machine, whose answers come 50 ms later.
 *
 * @module
 */

import { DaemonProcess } from "../e2e/daemon_process.ts";
import { Toxiproxy, toxiproxyBinary } from "../faults/toxiproxy.ts";
import { BUCKET, startVersitygw, versitygwBinary } from "../storage/versitygw.ts";
import { buildProgram, type Figures, flush, makeDir, report } from "./measuring.ts";
import { setCredentials, statusOf, timed, workDir } from "./measuring.ts";

const LATENCY_MS = 50;

const SMALL_BYTES = 4096, WRITTEN = 20_000, READ = 10_000, READERS = 64;

async function measure(dir: string, endpoint: string): Promise<Figures> {
  const program = await buildProgram(dir);
  const flags = ["--primary-type", "s3", "--primary-bucket", BUCKET];
  const args = [...flags, "--primary-endpoint", endpoint];
  const written = makeDir(`${makeDir(`${dir}/written`)}/depot`);
  const figures: Figures = {};
  {
    await using daemon = await DaemonProcess.start(written, args);
    const begun = performance.now();
    await timed(program, ["write", written, WRITTEN, SMALL_BYTES]);
    await flush(written);
    const seconds = (performance.now() - begun) / 1000;
    const { clean } = (await statusOf(written)).files;
    if (clean < WRITTEN) throw new Error(`Only ${clean} of ${WRITTEN} files were uploaded`);
    figures["4 KiB up at 50 ms, files/s"] = WRITTEN / seconds;
    await daemon.stop();
  }
  // Named as the depot was: that is the objects' prefix.
  const read = makeDir(`${makeDir(`${dir}/read`)}/depot`);
  await using _daemon = await DaemonProcess.start(read, [...args, "--read-only"]);
  const { seconds } = await timed(program, ["read", read, READ, SMALL_BYTES, READERS], read);
  figures[`restores by ${READERS} at 50 ms, files/s`] = READ / seconds;
  return figures;
}

const server = versitygwBinary(), between = toxiproxyBinary();
if (server === null || between === null) {
  console.log(
    "versitygw or toxiproxy is not there ('deno task test' builds them): nothing measured",
  );
  report({});
} else {
  const storage = await startVersitygw(server);
  const proxy = await Toxiproxy.start(between, new URL(storage.endpoint).host);
  try {
    setCredentials(storage.config());
    const attributes = { latency: LATENCY_MS, jitter: 0 };
    await proxy.add([{ type: "latency", stream: "downstream", attributes }]);
    using dir = workDir();
    const figures = await measure(dir.path, `http://${proxy.address}`);
    for (const [name, value] of Object.entries(figures)) {
      console.log(name.padEnd(40) + value.toFixed(0).padStart(10));
    }
    report({ S3: { figures, series: {} } });
  } finally {
    await proxy.end();
    await storage.end();
  }
}
