/** The metrics file as the daemon keeps it. @module */

import { assertEquals, assertStringIncludes } from "deno-std/assert/mod.js";
import { startReporting } from "../../src/commands/reporting.ts";
import type { Config } from "../../src/config/config.ts";
import { configureLogging } from "../../src/observe/logging.ts";
import { type GaugeSnapshot, Metrics } from "../../src/observe/metrics.ts";
import { WritePace } from "../../src/observe/metrics_file.ts";

const SNAPSHOT: GaugeSnapshot = {
  dirty: 0,
  uploading: 0,
  clean: 0,
  total: 0,
  cacheBytes: 0,
  cacheMaxBytes: 0,
  uploadPending: 0,
  restorePending: 0,
  accessEntries: 0,
};

const metrics = () => new Metrics({ depot: "/d", mode: "readwrite" }, () => SNAPSHOT);

function config(metricsFile: string): Config {
  return { metricsFile, metricsIntervalSeconds: 3600, statsIntervalSeconds: 0 } as Config;
}

Deno.test("the metrics file is written at the start, and with the last counts at the end", async () => {
  const dir = Deno.makeTempDirSync();
  try {
    const path = `${dir}/m.prom`;
    const counts = metrics();
    const watcher = Deno.watchFs(dir);
    const reporting = startReporting(config(path), counts, () => SNAPSHOT, () => []);
    for await (const event of watcher) {
      if (event.paths.includes(path)) break;
    }
    assertStringIncludes(Deno.readTextFileSync(path), "p4cache_evictions_total{");
    counts.evicted(7, 0, 0.1);
    await reporting.stop();
    assertStringIncludes(
      Deno.readTextFileSync(path),
      'p4cache_evictions_total{depot="/d",mode="readwrite"} 7',
    );
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
});

Deno.test({
  name: "a metrics file that cannot be written is told once, and ends nothing",
  sanitizeResources: false, // the log stays open for the life of the process
  fn: async () => {
    const dir = Deno.makeTempDirSync();
    try {
      configureLogging({
        verbose: false,
        logFile: `${dir}/log`,
        logFormat: "text",
        logLevel: null,
        logLevels: null,
        logMaxMib: 0,
        logKeep: 1,
      });
      // Fails at the start and at the end.
      const reporting = startReporting(
        config(`${dir}/none/m.prom`),
        metrics(),
        () => SNAPSHOT,
        () => [],
      );
      await reporting.stop();
      const lines = Deno.readTextFileSync(`${dir}/log`).trimEnd().split("\n");
      assertEquals(lines.length, 1);
      assertStringIncludes(
        lines[0]!,
        `WARN stats: Cannot write the metrics file ${dir}/none/m.prom: `,
      );
    } finally {
      Deno.removeSync(dir, { recursive: true });
    }
  },
});

Deno.test("the metrics file is written at an interval when something happened, or ten seconds passed", () => {
  const pace = new WritePace();
  assertEquals(pace.isDue("a", false, 0), true);
  assertEquals([1000, 5000, 9000].map((ms) => pace.isDue("a", false, ms)), [false, false, false]);
  assertEquals(pace.isDue("b", false, 9500), true);
  assertEquals(pace.isDue("b", false, 19_000), false);
  assertEquals(pace.isDue("b", false, 19_500), true);
  assertEquals(pace.isDue("b", true, 20_000), true, "ages of waiting files go on");
  assertEquals(pace.isDue("b", false, 20_500), false);
  pace.failed();
  assertEquals(pace.isDue("b", false, 21_000), true);
});
