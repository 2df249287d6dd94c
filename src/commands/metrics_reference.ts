/**
 * Writes `docs/reference/metrics.md` from the metrics themselves.
 *
 * @module
 */

import { BackupSchedule } from "../backup/backup_schedule.ts";
import type { BackupParts } from "../backup/make_backup.ts";
import { Scrubber } from "../admin/scrubber.ts";
import type { VerifyParts } from "../admin/verify.ts";
import { addDaemonMetrics } from "../observe/daemon_metrics.ts";
import { BackendMetrics } from "../observe/backend_metrics.ts";
import { EngineMetrics } from "../observe/engine_metrics.ts";
import { Health } from "../observe/health.ts";
import { addLeaseMetrics } from "../observe/lease_metrics.ts";
import { getLog } from "../observe/logging.ts";
import { type GaugeSnapshot, Metrics } from "../observe/metrics.ts";
import { PeerMetrics } from "../observe/peer_metrics.ts";
import { ReplicaMetrics } from "../observe/replica_metrics.ts";
import { ReloadMetrics } from "../observe/reload_metrics.ts";

const HEAD = `# Metrics

<!-- Made by \`deno task docs\` from the metrics themselves; changes here are lost. -->

Written to \`metrics_file\` every \`metrics_interval\` seconds, and served at \`/metrics\` where \`http_listen\` is
set. Every metric has the labels \`depot\` and \`mode\` (\`readwrite\` or \`readonly\`) besides its own. Names stay:
more may be added, none renamed.

| metric | type | labels | what |
|---|---|---|---|
`;

/** Every metric of the daemon, with values that mean nothing. */
function allMetrics(): Metrics {
  const nothing = { freeBytes: 0, freeInodes: 0, dirtyBytes: 0, oldestDirtySeconds: 0 };
  const metrics = new Metrics(
    { depot: "", mode: "readwrite" },
    () => ({} as unknown as GaugeSnapshot),
  );
  metrics.addBackends(new BackendMetrics());
  new EngineMetrics(metrics.registry, new Health(getLog("health")), () => nothing);
  new ReloadMetrics(metrics.registry);
  const renewals = { success: 0, failure: 0 };
  addLeaseMetrics(metrics.registry, () => ({ isHeld: true, epoch: 0, renewals }));
  new PeerMetrics(metrics.registry);
  new ReplicaMetrics(metrics.registry, () => ({ isFollowed: null, pendingChanges: null }));
  addDaemonMetrics(metrics.registry, 0, () => ({
    state: "healthy",
    hitRatio: null,
    drainSeconds: null,
    databases: {},
  }));
  const parts = {} as VerifyParts & BackupParts;
  const limits = { scrubIntervalSeconds: 0, scrubFilesPerSecond: 1 };
  new BackupSchedule(parts, { isHeld: false }, metrics.registry, getLog("backup"));
  new Scrubber(parts, limits, "/nonexistent", metrics.registry, getLog("scrub"));
  return metrics;
}

/** The whole page. */
export function metricsPage(): string {
  const rows = allMetrics().registry.getMetricsAsArray().map((metric) => {
    const { name, help, labelNames = [] } = metric as unknown as {
      name: string;
      help: string;
      labelNames?: string[];
    };
    const type = metric.constructor.name.toLowerCase();
    const labels = labelNames.map((label) => `\`${label}\``).join(", ");
    return `| \`${name}\` | ${type} | ${labels} | ${help} |\n`;
  });
  return HEAD + rows.sort().join("");
}

if (import.meta.main) {
  const page = new URL("../../docs/reference/metrics.md", import.meta.url);
  Deno.writeTextFileSync(page, metricsPage());
}
