/** The metrics of the contract, and their reference. @module */

import { metricsPage } from "../../src/commands/metrics_reference.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "deno-std/assert/mod.js";
import { BackendMetrics } from "../../src/observe/backend_metrics.ts";
import { addDaemonMetrics } from "../../src/observe/daemon_metrics.ts";
import { ReloadMetrics } from "../../src/observe/reload_metrics.ts";
import { type GaugeSnapshot, Metrics } from "../../src/observe/metrics.ts";
import { writeMetricsFile } from "../../src/observe/metrics_file.ts";

const SNAPSHOT: GaugeSnapshot = {
  dirty: 1,
  uploading: 2,
  clean: 3,
  total: 6,
  cacheBytes: 4096,
  cacheMaxBytes: 8192,
  uploadPending: 3,
  restorePending: 4,
  accessEntries: 5,
};

/** Names and types of the contract; files_total is a gauge without the type (see metrics.ts). */
const CONTRACT: Readonly<Record<string, string>> = {
  uploads_total: "counter",
  upload_bytes_total: "counter",
  restores_total: "counter",
  restore_bytes_total: "counter",
  restores_secondary_total: "counter",
  evictions_total: "counter",
  eviction_bytes_total: "counter",
  shim_requests_total: "counter",
  watcher_events_total: "counter",
  access_events_total: "counter",
  access_batches_total: "counter",
  files_dirty: "gauge",
  files_uploading: "gauge",
  files_clean: "gauge",
  files_total: "untyped",
  cache_bytes: "gauge",
  cache_max_bytes: "gauge",
  upload_queue_pending: "gauge",
  restore_queue_pending: "gauge",
  access_db_entries: "gauge",
  upload_duration_seconds: "histogram",
  restore_duration_seconds: "histogram",
  eviction_batch_duration_seconds: "histogram",
  shim_request_duration_seconds: "histogram",
  access_batch_duration_seconds: "histogram",
};

/** Metrics beyond the contract. */
const FURTHER = {
  access_dropped_total: "counter",
  shim_errors_total: "counter",
  watcher_overflows_total: "counter",
  checksum_mismatches_total: "counter",
};

Deno.test("every metric of the contract is there from the start, with its type", async () => {
  const metrics = new Metrics({ depot: "/d", mode: "readwrite" }, () => SNAPSHOT);
  const text = await metrics.text();
  const types = [...text.matchAll(/^# TYPE p4cache_(\S+) (\S+)$/gm)].map((m) => [m[1], m[2]]);
  assertEquals(Object.fromEntries(types), { ...CONTRACT, ...FURTHER });
  for (const result of ["success", "failure"]) {
    assertStringIncludes(
      text,
      `p4cache_restores_total{result="${result}",depot="/d",mode="readwrite"} 0`,
    );
  }
  assertStringIncludes(text, 'p4cache_shim_request_duration_seconds_bucket{le="0.0001",');
  assertStringIncludes(text, 'p4cache_upload_duration_seconds_bucket{le="300",');
});

Deno.test("the reference of metrics is what the registry gives ('deno task docs' renews it)", () => {
  const page = new URL("../../docs/reference/metrics.md", import.meta.url);
  assertEquals(Deno.readTextFileSync(page), metricsPage());
});

Deno.test("what happened is counted once, and read twice the same", async () => {
  const metrics = new Metrics({ depot: "/d", mode: "readonly" }, () => SNAPSHOT);
  metrics.uploadDone(true, 10, 0.5);
  metrics.uploadDone(false, 0, 0.5);
  metrics.restoreDone(true, 20, 0.1, true);
  metrics.shimRequest("error", 0.1);
  await metrics.text();
  const text = await metrics.text();
  const labels = 'depot="/d",mode="readonly"';
  assertStringIncludes(text, `p4cache_uploads_total{result="success",${labels}} 1`);
  assertStringIncludes(text, `p4cache_uploads_total{result="failure",${labels}} 1`);
  assertStringIncludes(text, `p4cache_restore_bytes_total{${labels}} 20`);
  assertStringIncludes(text, `p4cache_restores_secondary_total{${labels}} 1`);
  assertStringIncludes(text, `p4cache_shim_requests_total{result="not_found",${labels}} 0`);
  assertStringIncludes(text, `p4cache_shim_request_duration_seconds_count{${labels}} 1`);
  assertStringIncludes(text, `p4cache_files_total{${labels}} 6`);
});

Deno.test("a depot's odd name is escaped in labels", async () => {
  const metrics = new Metrics({ depot: 'a"b\\c\nd', mode: "readwrite" }, () => SNAPSHOT);
  assertStringIncludes(await metrics.text(), String.raw`depot="a\"b\\c\nd"`);
});

Deno.test("the metrics file is replaced whole, and nothing is left beside it", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    const path = `${dir}/m.prom`;
    const big = (digit: string) => digit.repeat(200_000) + "\n";
    await writeMetricsFile(path, big("0"));
    let writing = true;
    const writes = (async () => {
      for (let i = 0; i < 50; i++) await writeMetricsFile(path, big(String(i % 10)));
      writing = false;
    })();
    while (writing) {
      const text = await Deno.readTextFile(path);
      assertEquals(text, big(text[0]!));
    }
    await writes;
    const umask = Deno.umask(0o077);
    try {
      await writeMetricsFile(path, "for the collector\n");
    } finally {
      Deno.umask(umask);
    }
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o644);
    assertEquals([...Deno.readDirSync(dir)].map((entry) => entry.name), ["m.prom"]);
    // Whatever is no file, as /dev/null, is somebody else's.
    Deno.removeSync(path);
    Deno.mkdirSync(path);
    await assertRejects(() => writeMetricsFile(path, ""), Error, "something that is not a file");
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

const noPromtool = (await new Deno.Command("sh", { args: ["-c", "command -v promtool"] }).output())
  .code !== 0;
if (noPromtool) console.log("a test of the metrics is skipped: promtool is not installed");

Deno.test({
  name: "promtool finds nothing to say, whatever the depot is called",
  ignore: noPromtool,
  fn: async () => {
    const metrics = new Metrics({ depot: 'a"b\\c\nd', mode: "readwrite" }, () => SNAPSHOT);
    metrics.uploadDone(true, 1, 0.0004);
    metrics.accessBatch(400);
    const backends = new BackendMetrics();
    backends.recorder("primary").ended("get", 0.1, "throttled");
    backends.watchCircuit("primary", () => true);
    metrics.addBackends(backends);
    new ReloadMetrics(metrics.registry).done(false);
    addDaemonMetrics(metrics.registry, Date.now(), () => ({
      state: "degraded",
      hitRatio: null,
      drainSeconds: null,
      databases: { manifest: { usedBytes: 1, mapBytes: 2, staleReaders: 3 } },
    }));
    const child = new Deno.Command("promtool", {
      args: ["check", "metrics"],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const output = child.output();
    const input = child.stdin.getWriter();
    await input.write(new TextEncoder().encode(await metrics.text()));
    await input.close();
    const { code, stdout, stderr } = await output;
    const said = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
    assertEquals([code, said], [0, ""]);
  },
});

Deno.test("what the daemon takes of the machine is told: memory by its kinds, and processor time", async () => {
  const metrics = new Metrics({ depot: "/d", mode: "readwrite" }, () => SNAPSHOT);
  addDaemonMetrics(metrics.registry, Date.now(), () => ({
    state: "healthy",
    hitRatio: null,
    drainSeconds: null,
    databases: {},
  }));
  const read = async (series: string) => {
    const line = (await metrics.text()).split("\n").find((each) =>
      each.startsWith(series) && each.includes('depot="/d"')
    );
    return Number(line?.split(" ").at(-1));
  };
  const MIB = 1024 ** 2;
  const anonymous = await read('p4cache_memory_bytes{kind="anonymous"');
  assert(anonymous > 5 * MIB && anonymous < 8192 * MIB, String(anonymous));
  assert(await read('p4cache_memory_bytes{kind="mapped"') > MIB);
  const before = await read("p4cache_cpu_seconds_total");
  for (const end = performance.now() + 50; performance.now() < end;);
  const after = await read("p4cache_cpu_seconds_total");
  assert(before > 0 && after > before, `${before} ${after}`);
});
