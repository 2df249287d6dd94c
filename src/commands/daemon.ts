/**
 * The daemon: wires the parts together. This file is the map of the program.
 *
 *   p4d closes a file → Watcher (C thread) → Intake → Manifest: dirty → Uploader → Backend → clean
 *   p4d opens an evicted one → shim → ShimServer → Restorer → Backend → placed → Manifest: clean
 *   cache above the low watermark → Evictor: lease, trash, barrier, unlink → Manifest: forgotten
 *   an admin command asks → ControlServer → src/admin/
 *   at start, after lost events, now and then → Scanner: depot against Manifest
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";
import { giveBackFreedMemory, shareMemory } from "../../ffi/memory.ts";
import { Watcher } from "../../ffi/watch.ts";
import { Maintenance } from "../admin/maintenance.ts";
import { httpPages } from "../admin/pages.ts";
import { adminRoutes } from "../admin/routes.ts";
import { Scrubber } from "../admin/scrubber.ts";
import { drainSeconds, readStatus, type StatusParts } from "../admin/status.ts";
import { BackupSchedule } from "../backup/backup_schedule.ts";
import { recordAccesses } from "../cache/accesses.ts";
import { pathFromText } from "../depot_path.ts";
import { currentBoot } from "../cache/power_cut.ts";
import { recover } from "../cache/recovery.ts";
import { Reserve } from "../cache/reserve.ts";
import { prepareStateDir } from "../cache/state_dir.ts";
import { machineClock } from "../cluster/lease_clock.ts";
import { openLease } from "../cluster/open_lease.ts";
import { WriteRight } from "../cluster/write_right.ts";
import type { Config } from "../config/config.ts";
import { parseListenAddress } from "../config/listen_address.ts";
import { counted } from "../counted.ts";
import { EnvironmentError } from "../errors.ts";
import type { Manifest } from "../manifest/manifest.ts";
import { isDiskFull, migrateManifest, openManifest } from "../manifest/open_manifest.ts";
import { RestoredMark } from "../manifest/restored_mark.ts";
import { storageKeys } from "../manifest/storage_keys.ts";
import { addDaemonMetrics, type DaemonReadings } from "../observe/daemon_metrics.ts";
import { Health } from "../observe/health.ts";
import { stateOf } from "../observe/health_watch.ts";
import { addLeaseMetrics } from "../observe/lease_metrics.ts";
import { configureLogging, describeError, getLog } from "../observe/logging.ts";
import { startPulse } from "../observe/pulse.ts";
import { RateMeter } from "../observe/rates.ts";
import { ReloadMetrics } from "../observe/reload_metrics.ts";
import { collectGarbage, Rests, startRests, THIS_PROCESS } from "../observe/rests.ts";
import { ServiceManager } from "../observe/service_manager.ts";
import { stateLine } from "../observe/stats_line.ts";
import { AccessReceiver } from "../server/access_receiver.ts";
import { ControlServer } from "../server/control_server.ts";
import { HttpServer } from "../server/http_server.ts";
import { ShimServer } from "../server/shim_server.ts";
import { TransferMemory } from "../storage/transfer_memory.ts";
import { TransferThreads } from "../storage/transfer_threads.ts";
import { adjustEngine, startBackground } from "./background.ts";
import { removePidFile, reportReady, starterPid } from "./detach.ts";
import { buildEngine, type Engine, gauges } from "./engine.ts";
import { openPeerServer, openReaders } from "./peers.ts";
import { checkPidFile } from "./pid_file.ts";
import { Reloader } from "./reload.ts";
import { openFreshness, startCluster } from "./replica.ts";
import { startReporting } from "./reporting.ts";
import { shimRequests } from "./shim_requests.ts";
import { listenToOperator, stopSignal } from "./signals.ts";
import { checkSecretFiles, openStorage, probeStorage, warnOfUnverified } from "./storage.ts";
import { callSupervisor } from "./supervised.ts";

/**
 * Runs until SIGTERM or SIGINT; returns the exit code.
 * @param config Its live settings change when the daemon is told to reload (`live.ts`).
 * @param load Reads the configuration again. @throws ConfigError
 * @param takeOver Whether another daemon that holds the lease of the storage is fenced.
 * @throws EnvironmentError when something at start is missing.
 */
export async function runDaemon(
  config: Config,
  load: () => Config,
  takeOver: boolean,
): Promise<number> {
  const startedMs = Date.now();
  shareMemory();
  const output = configureLogging(config);
  const log = getLog("daemon");
  const signalled = stopSignal();
  const supervisor = await callSupervisor();
  const stopped = Promise.race([signalled, supervisor.ended]);
  const env = (name: string) => Deno.env.get(name);
  const manager = new ServiceManager(env, [Deno.pid, starterPid() ?? 0], getLog("systemd"));
  const operator = listenToOperator(output);
  const files = new DepotFiles(pathFromText(config.depotPath));
  // Before anything is made or taken: a start that fails here leaves the depot untouched.
  if (config.pidFile !== null) checkPidFile(config.pidFile);
  const watcher = config.readOnly ? null : openWatcher(files);
  const state = prepareStateDir(files, config.depotPath);
  const settled = await migrateManifest(state.manifest);
  if (settled !== null) {
    log.info(`The state had schema ${settled.from}, this program works with ${settled.to}`);
  }
  const health = new Health(getLog("health"));
  const reserve = new Reserve(`${state.manifest}/data.mdb`, files);
  const manifest = openManifest(state.manifest, storageKeys(config.primary), (error) => {
    if (error === null) return health.clear("manifest_unwritable");
    health.raise("manifest_unwritable", describeError(error));
    if (isDiskFull(error)) reserve.release();
  }, config.evictPolicy);
  reserve.hold();
  for (const warning of config.warnings) log.warning(warning);
  checkSecretFiles(config, env, log);
  warnOfUnverified(config, log);
  const right = new WriteRight({ clock: machineClock(), health, log: getLog("lease") });
  const readers = openReaders(config, state.path);
  const storage = await openStorage(config, right, () => supervisor.shares, readers);
  const { primary, secondary } = storage;
  // What another program wrote is counted only later.
  const hasState = manifest.counters.total > 0 || manifest.needsRecount;
  await probeStorage(config, storage, hasState, log);
  const lease = openLease(config, storage.forLease, right, state.path);
  await lease?.start(takeOver);

  const trashNames = Array.from(Deno.readDirSync(state.trash), (entry) => entry.name);
  const isRestored = new RestoredMark(manifest).sinceSeconds !== null;
  const findsRenames = !config.readOnly && (isRestored || !config.skipStartupScan);
  const markNames = Array.from(Deno.readDirSync(state.restoring), (entry) => entry.name);
  const found = { trashNames, markNames, boot: currentBoot() };
  const left = await recover(files, manifest, found, log, findsRenames);
  const fresh = openFreshness(config, state.path);
  const freshness = fresh?.freshness ?? null;
  const rests = new Rests(THIS_PROCESS);
  const engine = buildEngine(
    config,
    files,
    manifest,
    primary,
    secondary,
    health,
    reserve,
    right,
    new TransferThreads(() => rests.want()),
    freshness,
  );
  engine.metrics.addBackends(storage.metrics);
  const reloads = new ReloadMetrics(engine.metrics.registry);
  await engine.renames.load();
  const watching = watcher === null ? null : engine.intake.run(watcher, engine.scanner);
  // Before the first request: until that is done, no evicted file is said to be absent.
  if (findsRenames) engine.findRenames(left);
  const backends = secondary === null ? [primary] : [primary, secondary];
  // Who asks a peer first wants what is not stored yet, of which the feed knows nothing.
  const feedBackend = config.primary.type === "peer" ? null : primary;
  const cluster = startCluster(config, engine, freshness, backends, feedBackend);
  const requests = shimRequests(engine, backends, cluster.revalidator);
  const server = await ShimServer.listen(state.shimSocket, config.socketMode, requests);
  const peers = openPeerServer(config, engine, backends, requests.revalidate, readers);
  const accesses = config.accessLogEnabled
    ? AccessReceiver.listen(
      state.accessSocket,
      config.socketMode,
      (paths) => takeAccesses(engine, paths),
    )
    : null;

  const maintenance = new Maintenance(state.path, engine.evictor);
  const rates = new RateMeter(() => engine.metrics.totals());
  const status: StatusParts = {
    ...engine,
    config,
    rates,
    recentLines: output.recent,
    primary,
    secondary,
    gauges: () => gauges(config, engine),
    watching: watcher?.mode ?? null,
    right,
    leaseEpoch: () => lease?.epoch ?? 0,
    replica: () => cluster.status,
    startedMs,
  };
  const backups = new BackupSchedule(
    { ...engine, config, storage: primary.label },
    right,
    engine.metrics.registry,
    getLog("backup"),
  );
  const control = ControlServer.listen(
    state.controlSocket,
    adminRoutes({ ...engine, ...status, maintenance, backups, freshness }),
  );

  addDaemonMetrics(engine.metrics.registry, startedMs, () => daemonReadings(status, engine));
  addLeaseMetrics(engine.metrics.registry, () => ({
    isHeld: right.isHeld,
    epoch: lease?.epoch ?? 0,
    renewals: lease?.renewals ?? { success: 0, failure: 0 },
  }));
  const http = openHttp(config, status, () => manager.isReady);

  const background = startBackground(config, engine, log);
  const scrubber = new Scrubber(
    { ...engine, backend: primary },
    config,
    state.path,
    engine.metrics.registry,
    getLog("scrub"),
  );
  scrubber.start();
  backups.start();
  const reporting = startReporting(
    config,
    engine.metrics,
    () => gauges(config, engine),
    () => health.conditions,
  );
  const stopPulse = startPulse(rates, health, config, () => ({
    ...files.space(),
    oldestDirtySeconds: engine.uploader.oldestDirtySeconds,
  }));
  const stopRests = startRests(
    rests,
    () => giveBackMemory(manifest).catch((error) => log.warning(describeError(error))),
  );
  const reloader = new Reloader({
    config,
    load,
    storage,
    manager,
    log: getLog("config"),
    onChanged: ({ live }) => {
      output.apply(config);
      reporting.restart();
      adjustEngine(engine, live);
    },
    onDone: (ok) => reloads.done(ok),
  });
  operator.onReload = () => void reloader.request();
  operator.onDump = () =>
    void readStatus(status).then((state) => log.info(`State: ${JSON.stringify(state)}`));
  log.info(
    `Serving ${config.depotPath} (${watcher?.mode ?? "read-only, not watched"}), ` +
      `storage ${primary.label}${secondary === null ? "" : `, then ${secondary.label}`}`,
  );
  const memory = new TransferMemory(() => [
    engine.uploader.memory,
    engine.fetcher.memory,
    ...storage.memory(),
  ]);
  supervisor.report(() => {
    // Each change of the shares asks for a report.
    memory.limit(supervisor.shares.memory);
    return {
      state: stateOf(health.conditions, config, Date.now()),
      upBytes: storage.up.passed,
      downBytes: storage.down.passed,
      memoryBytes: memory.usedBytes,
      isWaiting: {
        up: storage.up.waiting > 0,
        down: storage.down.waiting > 0,
        memory: memory.isWaiting,
      },
    };
  });
  reportReady(config);
  manager.ready(() => stateLine(gauges(config, engine), health.conditions));

  const signal = await stopped;
  log.info(`${signal}: stopping`);
  manager.stopping();
  // Nobody begins anything new, and the requests that are there get their answers.
  background.stop();
  stopPulse();
  await stopRests();
  await Promise.all([control.close(), http?.close(), scrubber.stop(), backups.stop()]);
  await Promise.all([server.close(), peers?.close()]);
  await accesses?.close();
  // What is on its way to the storage, or from it, has its time.
  const timeoutMs = config.shutdownTimeoutSeconds * 1000;
  const transfersEnd = [engine.uploader.stop(timeoutMs), engine.restorer.stop(timeoutMs)];
  right.endWaits(); // uploads that wait for the lease
  await Promise.all(transfersEnd);
  await cluster.stop();
  fresh?.close();
  manifest.giveUp(); // nobody waits for a disk that stays full
  // What changes the depot ends before the watcher, which tells of it.
  await engine.identities.stop();
  await engine.renames.stop();
  await Promise.all([engine.evictor.stop(), engine.garbage.stop(), engine.unsettled.stop()]);
  watcher?.stop();
  await watching;
  watcher?.close();
  await engine.scanner.stop();
  await background.done;
  // All is recorded: it goes to the disk, the access log and the last figures too.
  const isOnPlatter = await engine.platterSync.stop();
  // What fails here the log said already.
  if (isOnPlatter) await manifest.setRunning(false).catch(() => {});
  await engine.marks.stop();
  await engine.accessLog?.flush();
  await reporting.stop();
  await engine.accessLog?.close();
  const { dirty } = manifest.counters;
  await manifest.close();
  // Nothing is written any more: another daemon may.
  await lease?.release();
  engine.sliceWork.close();
  await storage.close();
  files.close();
  removePidFile(config);
  manager.close();
  if (config.readOnly) log.info("Stopped");
  else if (dirty === 0) log.info("Stopped; every file is uploaded");
  else log.info(`Stopped; ${counted(dirty, "file")} still dirty`);
  return 0;
}

function daemonReadings({ config, rates }: StatusParts, engine: Engine): DaemonReadings {
  const { manifest, accessLog, health } = engine;
  return {
    state: stateOf(health.conditions, config, Date.now()),
    hitRatio: rates.hitRatio(),
    drainSeconds: drainSeconds({ rates, health, manifest }),
    databases: {
      manifest: manifest.usage(),
      ...(accessLog === null ? {} : { access: accessLog.usage() }),
    },
  };
}

function openHttp(
  config: Config,
  status: StatusParts,
  isServing: () => boolean,
): HttpServer | null {
  const address = config.httpListen === null ? null : parseListenAddress(config.httpListen);
  if (address === null) return null;
  const server = HttpServer.listen(address, httpPages(status, isServing));
  getLog("admin").info(`HTTP at ${server.url}`);
  return server;
}

/** What a load left: objects of the runtime, pages of the manifest, and what the allocator keeps. */
async function giveBackMemory(manifest: Manifest): Promise<void> {
  collectGarbage();
  await manifest.trim();
  await giveBackFreedMemory();
}

function openWatcher(files: DepotFiles): Watcher {
  try {
    return Watcher.open(files.dir);
  } catch (error) {
    throw new EnvironmentError(describeError(error));
  }
}

/** Accesses that the shim reports are logged, and keep files from eviction. */
async function takeAccesses(engine: Engine, paths: readonly string[]): Promise<void> {
  engine.metrics.accessEvents(paths.length);
  engine.busy.note(paths);
  recordAccesses(engine.manifest, paths, Math.floor(Date.now() / 1000));
  await engine.accessLog?.note(paths);
}
