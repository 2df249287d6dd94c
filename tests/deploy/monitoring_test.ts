/**
 * Alerts, runbooks and dashboard: checked by Prometheus' own tools and against what a daemon exposes
 * through node_exporter.
 *
 * @module
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "deno-std/assert/mod.js";
import {
  BINARY,
  DaemonProcess,
  hasProgram,
  mayWatch,
  run,
  TempDir,
  until,
} from "../e2e/daemon_process.ts";
import { CONDITIONS } from "../../src/observe/health.ts";

const DOCS = new URL("../../docs/", import.meta.url).pathname;
const MONITORING = `${DOCS}deploy/monitoring/`;
const ALERTS = Deno.readTextFileSync(`${MONITORING}alerts.yaml`);
const ALERT_NAMES = [...ALERTS.matchAll(/- alert: (\w+)/g)].map((match) => match[1]!);

/** Metrics without a panel or an alert, and why. */
const NOT_WATCHED: Readonly<Record<string, string>> = {
  p4cache_access_batch_duration_seconds: "behind the daemon's answers, which are shown",
  p4cache_access_batches_total: "follows p4cache_access_events_total",
  p4cache_access_db_entries: "grows slowly, and the databases' use is shown",
  p4cache_build_info: "to join with others",
  p4cache_config_last_reload_timestamp_seconds:
    "of interest after p4cache_config_last_reload_successful",
  p4cache_config_reloads_total: "as above",
  p4cache_database_stale_readers_total: "mended by the daemon itself",
  p4cache_eviction_batch_duration_seconds: "nobody waits for it",
  p4cache_lease_epoch: "to join with others",
  p4cache_reconcile_duration_seconds: "how much was compared is shown",
  p4cache_reconciles_total: "the age of the last one is shown",
  p4cache_start_time_seconds: "to join with others",
};

/** What a daemon without peers, scrubs and backups has no data of. */
const NOT_YET = /p4cache_(peer_|(scrub|backup)_last_)/;

const noPromtool = !hasProgram("promtool");
if (noPromtool) console.log("checks of the alerts are skipped: promtool is not installed");
const EXPORTER = "prometheus-node-exporter";
const noExporter = !hasProgram(EXPORTER) || !mayWatch();
if (noExporter) {
  console.log(`the textfile test is skipped: it needs ${EXPORTER} and CAP_SYS_ADMIN`);
}

const noPrometheus = !hasProgram("prometheus") || !mayWatch();
if (noPrometheus) console.log("the test with Prometheus is skipped: it needs it and CAP_SYS_ADMIN");

function freePort(): number {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return listener.addr.port;
}

function exists(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false;
  }
}

interface Dashboard {
  readonly panels: readonly {
    readonly id: number;
    readonly title: string;
    readonly gridPos: { x: number; y: number; w: number; h: number };
    readonly targets: readonly { expr: string }[];
  }[];
}

const dashboard: Dashboard = JSON.parse(
  Deno.readTextFileSync(`${MONITORING}grafana_dashboard.json`),
);

Deno.test("the alert rules are valid, and each fires when it should and only then", {
  ignore: noPromtool,
}, async () => {
  const checked = await run("promtool", ["check", "rules", "alerts.yaml"], { cwd: MONITORING });
  assertEquals(checked.code, 0, checked.stdout + checked.stderr);
  const tested = await run("promtool", ["test", "rules", "alerts_test.yaml"], { cwd: MONITORING });
  assertEquals(tested.code, 0, tested.stdout + tested.stderr);
  const tests = Deno.readTextFileSync(`${MONITORING}alerts_test.yaml`);
  for (const name of ALERT_NAMES) {
    assertStringIncludes(tests, `name: ${name} fires`);
    assertStringIncludes(tests, `name: ${name} is quiet`);
  }
});

Deno.test("every alert says what is wrong, how bad it is, and has a page that says what to do", () => {
  assert(ALERT_NAMES.length >= 15);
  for (const rule of ALERTS.split(/^ +- alert: /m).slice(1)) {
    const name = /^\w+/.exec(rule)![0];
    for (const key of ["summary", "description"]) {
      assertMatch(rule, new RegExp(`${key}: (["']).{20,}\\1\n`));
    }
    assertMatch(rule, /severity: (critical|warning|info)\n/);
    assertStringIncludes(rule, `runbook_url: docs/runbooks/${name}.md`);
    const page = Deno.readTextFileSync(`${DOCS}runbooks/${name}.md`);
    for (const part of [`# ${name}`, "## What it means", "## Look", "## Do"]) {
      assertStringIncludes(page, part);
    }
    assertStringIncludes(Deno.readTextFileSync(`${DOCS}runbooks/README.md`), `(${name}.md)`);
  }
});

Deno.test("the runbook of P4CacheDegraded explains every condition, and troubleshooting leads on", () => {
  const page = Deno.readTextFileSync(`${DOCS}runbooks/P4CacheDegraded.md`);
  const next = Deno.readTextFileSync(`${DOCS}troubleshooting.md`);
  for (const condition of CONDITIONS) {
    assertStringIncludes(page, `- \`${condition}\`: `);
    assertStringIncludes(next, `| \`${condition}\` `);
  }
});

Deno.test("the dashboard's panels neither overlap nor share a number", () => {
  const { panels } = dashboard;
  assertEquals(new Set(panels.map((panel) => panel.id)).size, panels.length);
  for (const [i, { gridPos: a, title }] of panels.entries()) {
    assert(a.x + a.w <= 24, title);
    for (const { gridPos: b, title: other } of panels.slice(i + 1)) {
      const apart = a.x + a.w <= b.x || b.x + b.w <= a.x || a.y + a.h <= b.y || b.y + b.h <= a.y;
      assert(apart, `${title} and ${other}`);
    }
  }
});

Deno.test("every metric is in the dashboard or in an alert, or has a reason not to be", () => {
  const page = Deno.readTextFileSync(`${DOCS}reference/metrics.md`);
  const watched = Deno.readTextFileSync(`${MONITORING}grafana_dashboard.json`) + ALERTS;
  const isWatched = (name: string) =>
    new RegExp(`\\b${name}(_bucket|_sum|_count)?\\b`).test(watched);
  const names = [...page.matchAll(/^\| `(p4cache_\w+)`/gm)].map(([, name]) => name!);
  assertEquals(names.filter((name) => !isWatched(name)), Object.keys(NOT_WATCHED).sort());
});

Deno.test("alerts and dashboard use only metrics that node_exporter gets from a daemon", {
  ignore: noExporter,
}, async () => {
  using dir = new TempDir();
  for (const name of ["depot", "store", "textfile"]) Deno.mkdirSync(`${dir.path}/${name}`);
  const daemon = new Deno.Command(BINARY, {
    args: [
      ...["--depot-path", `${dir.path}/depot`, "--primary-type", "nfs"],
      ...["--primary-path", `${dir.path}/store`, "--log-file", `${dir.path}/log`],
      ...["--metrics-file", `${dir.path}/textfile/p4cache.prom`, "--metrics-interval", "1"],
    ],
  }).spawn();
  const port = freePort();
  const exporter = new Deno.Command(EXPORTER, {
    args: [
      ...["--collector.disable-defaults", "--collector.textfile"],
      ...[`--collector.textfile.directory=${dir.path}/textfile`],
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    stderr: "null",
  }).spawn();
  try {
    let exposed = "";
    await until("node_exporter exposes the daemon's metrics", async () => {
      const answer = await fetch(`http://127.0.0.1:${port}/metrics`).catch(() => null);
      exposed = await answer?.text() ?? "";
      return exposed.includes("p4cache_files_total{");
    });
    assertStringIncludes(exposed, "node_textfile_scrape_error 0");
    // A counter of errors that has not counted yet stands in the file alone.
    const families = exposed + Deno.readTextFileSync(`${dir.path}/textfile/p4cache.prom`);
    const known = new Set([...families.matchAll(/^# TYPE (\S+)/gm)].map((match) => match[1]!));
    const expressions = [
      ...ALERTS.matchAll(/expr: (["'])(.*)\1$/gm).map((match) => match[2]!),
      ...dashboard.panels.flatMap((panel) => panel.targets.map((target) => target.expr)),
    ].filter((expression) => !NOT_YET.test(expression));
    for (const expression of expressions) {
      for (const [name] of expression.matchAll(/\b(p4cache|node)_[a-z_]+/g)) {
        const family = known.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
        assert(known.has(family), `${name} of ${expression}`);
      }
    }
    // What rules select by must be there too.
    for (const [, condition] of ALERTS.matchAll(/condition="(\w+)"/g)) {
      assertStringIncludes(exposed, `condition="${condition}"`);
    }
  } finally {
    for (const child of [daemon, exporter]) {
      child.kill("SIGTERM");
      await child.status;
    }
  }
});

Deno.test("Prometheus has data for every panel and every alert, asked from the daemon itself", {
  ignore: noPrometheus,
}, async () => {
  using dir = new TempDir();
  const depot = `${dir.path}/depot`, store = `${dir.path}/store`;
  // Its name in the storage is taken by a directory: an upload that fails.
  for (const path of [depot, store, `${store}/refused`]) Deno.mkdirSync(path);
  const [httpPort, port] = [freePort(), freePort()];
  await using daemon = await DaemonProcess.start(depot, [
    ...["--primary-type", "nfs", "--primary-path", store],
    ...["--http-listen", `127.0.0.1:${httpPort}`],
  ]);
  Deno.writeTextFileSync(
    `${dir.path}/prometheus.yml`,
    Deno.readTextFileSync(`${MONITORING}prometheus.yml`)
      .replaceAll("15s", "1s")
      .replace("rule_files:\n  - alerts.yaml", `rule_files: ["${MONITORING}alerts.yaml"]`)
      .replaceAll(/^#(?= )(?=.*(job_name: p4-cache|static_configs|p4-server))/gm, "")
      .replace("p4-server:9180", `127.0.0.1:${httpPort}`)
      .replace("node-exporter:9100", "127.0.0.1:1"),
  );
  const prometheus = new Deno.Command("prometheus", {
    args: [
      ...[`--config.file=${dir.path}/prometheus.yml`, `--storage.tsdb.path=${dir.path}/tsdb`],
      `--web.listen-address=127.0.0.1:${port}`,
    ],
    stderr: "null",
  }).spawn();
  const ask = async (expression: string): Promise<unknown[]> => {
    const query = new URLSearchParams({ query: expression });
    const answer = await fetch(`http://127.0.0.1:${port}/api/v1/query?${query}`);
    const { error, data } = await answer.json();
    assertEquals(error, undefined, expression);
    return data.result;
  };
  try {
    await until("Prometheus asks the daemon", async () => {
      return (await ask('up{job="p4-cache"} == 1').catch(() => [])).length > 0;
    });
    for (const name of ["a.c,v", "refused"]) Deno.writeTextFileSync(`${depot}/${name}`, name);
    await until(
      "one is uploaded",
      () => Deno.statSync(`${store}/refused`).isDirectory && exists(`${store}/a.c,v`),
    );
    await run(BINARY, ["evict", "a.c,v", "--depot-path", depot]);
    assertEquals(await daemon.fetch("a.c,v"), "OK 5");
    const expressions = dashboard.panels.flatMap((panel) => panel.targets.map(({ expr }) => expr))
      .filter((expr) => !NOT_YET.test(expr))
      .map((expr) =>
        expr.replaceAll(/"\$(depot|instance)"/g, '".+"').replaceAll("$__rate_interval", "1m")
          .replaceAll(/ > 0(?=\)?$)/g, "")
      );
    // An alert compares; what it compares must be there.
    for (const expr of ALERTS.matchAll(/expr: (["'])(.*)\1$/gm)) {
      await ask(expr[2]!);
      for (const [series] of expr[2]!.matchAll(/\b(p4cache_\w+|up)(\{[^}]*\})?/g)) {
        if (!series.includes('kind="corrupt"')) expressions.push(series);
      }
    }
    for (const expression of expressions) {
      await until(`${expression} has data`, async () => (await ask(expression)).length > 0);
    }
    const firing = await ask(
      'ALERTS{alertname=~"P4Cache(Degraded|Failing|Down)",alertstate="firing"}',
    );
    assertEquals(firing, []);
  } finally {
    prometheus.kill("SIGTERM");
    await prometheus.status;
  }
});

Deno.test("logrotate turns the log over", { ignore: !hasProgram("logrotate") }, async () => {
  using dir = new TempDir();
  const text = Deno.readTextFileSync(`${DOCS}deploy/install/p4-cache.logrotate`);
  const local = text.replaceAll("/var/log/", `${dir.path}/`).replaceAll("perforce", "root");
  Deno.mkdirSync(`${dir.path}/p4-cache`);
  const config = `${dir.path}/rotate`;
  Deno.writeTextFileSync(config, local, { mode: 0o644 });
  Deno.chmodSync(config, 0o644);
  for (const name of ["p4-cache.log", "p4-cache/depot.log"]) {
    Deno.writeTextFileSync(`${dir.path}/${name}`, "a line\n");
  }
  const flags = ["--force", "--state", `${dir.path}/state`, config];
  const { code, stderr } = await run("/usr/sbin/logrotate", flags);
  assertEquals([code, stderr], [0, ""]);
  for (const name of ["p4-cache.log", "p4-cache/depot.log"]) {
    assertEquals(Deno.readTextFileSync(`${dir.path}/${name}.1`), "a line\n");
    assertEquals(Deno.readTextFileSync(`${dir.path}/${name}`), "");
  }
});
