/**
 * Opens the daemon's storage: each backend with limits, measuring, retries and its circuit, tried
 * before anything relies on it.
 *
 *   engine → RetryingBackend → LimitedBackend → LeasedBackend → MeasuredBackend → ReplaceableBackend
 *     → s3 · azure · gcs · nfs
 *
 * @module
 */

import type { Logger } from "@logtape/logtape";
import { type Bandwidth, bandwidthAt, parseBandwidth } from "../config/bandwidth.ts";
import type { BackendConfig, Config } from "../config/config.ts";
import { secretFileWarning } from "../config/secret_file.ts";
import { type Role, ROLES } from "../config/setting.ts";
import { EnvironmentError } from "../errors.ts";
import { BackendMetrics } from "../observe/backend_metrics.ts";
import { describeError } from "../observe/logging.ts";
import { LeasedBackend } from "../cluster/leased_backend.ts";
import type { PeerReaders } from "../cluster/peer_readers.ts";
import type { WriteRight } from "../cluster/write_right.ts";
import type { Backend } from "../storage/backend.ts";
import { LimitedBackend, type Limits } from "../storage/limited.ts";
import { MeasuredBackend } from "../storage/measured.ts";
import { openBackend } from "../storage/open_backend.ts";
import type { PartBudget } from "../storage/part_budget.ts";
import { probeBackend } from "../storage/probe.ts";
import { ReadOnlyBackend } from "../storage/read_only.ts";
import { RateGate } from "../storage/rate_gate.ts";
import { ReplaceableBackend } from "../storage/replaceable.ts";
import { RetryingBackend } from "../storage/retrying.ts";
import { NO_LIMIT, type Shares } from "./run_shares.ts";

/** Longest wait for a backend at start, ms. */
const PROBE_TIMEOUT_MS = 10_000;

/** A backend with new settings, shown to work. */
export interface Prepared {
  /** Puts it in the old one's place. */
  use(): void;
  /** It is not wanted after all. */
  drop(): Promise<void>;
}

/** The daemon's storage. */
export interface Storage {
  readonly primary: RetryingBackend;
  /** Only ever read. */
  readonly secondary: RetryingBackend | null;
  /** The primary for the lease alone, whose renewals wait for no limit and no retry. */
  readonly forLease: Backend;
  readonly metrics: BackendMetrics;
  /** What bytes to and from storage have to pass. */
  readonly up: RateGate;
  readonly down: RateGate;
  /** What the backends that are used now hold in memory. */
  memory(): readonly PartBudget[];
  /**
   * Opens a backend with its new settings, and tries it.
   * @throws EnvironmentError when it cannot be used.
   */
  prepare(role: Role, backend: BackendConfig): Promise<Prepared>;
  close(): Promise<void>;
}

/**
 * Opens both backends; asks them nothing yet.
 * @param config Its live settings are read when they are needed (`live.ts`).
 * @param right Without it nothing is written to the primary; null where no lease is kept.
 * @param shares What is left to this daemon of what several share, now.
 * @param readers Who reads from this daemon; null: nobody can.
 * @throws EnvironmentError when one cannot be used as configured.
 */
export async function openStorage(
  config: Config,
  right: WriteRight | null = null,
  shares: () => Shares = () => NO_LIMIT,
  readers: PeerReaders | null = null,
): Promise<Storage> {
  const named = readers === null ? null : () => readers.text;
  const metrics = new BackendMetrics();
  const up = bandwidthGate(() => config.uploadBandwidth, () => shares().up);
  const down = bandwidthGate(() => config.downloadBandwidth, () => shares().down);
  const replaceable = new Map<Role, ReplaceableBackend>();
  const open = async (role: Role, backend: BackendConfig) => {
    const requests = new RateGate(() => config.maxRequestsPerSecond ?? Infinity);
    const limits = { up, down, requests };
    const isRead = role === "secondary" || config.readOnly;
    const leased = role === "primary" ? right : null;
    const { replaceable: inner, backend: opened } = await openOne(
      role,
      () => openBackend(backend, named),
      limits,
      metrics,
      leased,
      isRead,
    );
    replaceable.set(role, inner);
    metrics.watchCircuit(role, () => opened.isOpen);
    metrics.setUnverified(role, isUnverified(backend));
    return opened;
  };
  const primary = await open("primary", config.primary);
  const secondary = config.secondary === null ? null : await open("secondary", config.secondary);
  const close = async () => {
    await primary.close();
    await secondary?.close();
  };
  const prepare = async (role: Role, backend: BackendConfig) => {
    const opened = await openTried(role, () => openBackend(backend, named), config);
    const use = () => {
      replaceable.get(role)!.replace(opened);
      metrics.setUnverified(role, isUnverified(backend));
    };
    return { use, drop: () => opened.close() };
  };
  const memory = () =>
    [...replaceable.values()].flatMap((each) => each.memory === undefined ? [] : [each.memory]);
  const forLease = replaceable.get("primary")!;
  return { primary, secondary, forLease, metrics, up, down, memory, prepare, close };
}

async function openTried(
  role: Role,
  open: () => Promise<Backend>,
  config: Config,
): Promise<Backend> {
  let opened: Backend;
  try {
    opened = await open();
  } catch (error) {
    throw new EnvironmentError(`Cannot use the ${role} storage: ${describeError(error)}`);
  }
  if (!config.probe) return opened;
  const mayWrite = role === "primary" && !config.readOnly;
  const result = await probeBackend(opened, mayWrite, PROBE_TIMEOUT_MS);
  if (result.kind === "usable" || result.kind === "keeps") return opened;
  await opened.close();
  throw new EnvironmentError(`The ${role} storage cannot be used: ${result.why}`);
}

/**
 * Tries both backends, side by side.
 * @param hasState Whether the depot has been served before: then a backend that cannot be reached
 * does not keep p4d from its warm files (promise P4).
 * @throws EnvironmentError when a backend refuses, or cannot be reached at the very first start.
 */
export async function probeStorage(
  config: Config,
  storage: Storage,
  hasState: boolean,
  log: Logger,
): Promise<void> {
  if (!config.probe) return;
  const backends: [Role, RetryingBackend][] = [["primary", storage.primary]];
  if (storage.secondary !== null) backends.push(["secondary", storage.secondary]);
  await Promise.all(backends.map(async ([role, backend]) => {
    const mayWrite = role === "primary" && !config.readOnly;
    const result = await probeBackend(backend, mayWrite, PROBE_TIMEOUT_MS);
    switch (result.kind) {
      case "usable":
        return;
      case "keeps":
        log.warning(
          `The ${role} storage keeps the object it was tried with: ${result.why}; allow removing ` +
            `objects, or set probe to false`,
        );
        return;
      case "refused":
        throw new EnvironmentError(`The ${role} storage cannot be used: ${result.why}`);
      case "unreachable":
        if (!hasState) {
          throw new EnvironmentError(
            `The ${role} storage cannot be reached: ${result.why}; check the endpoint and the ` +
              `network (--no-probe starts without it)`,
          );
        }
        log.error(
          `The ${role} storage cannot be reached: ${result.why}; files that are here are served, ` +
            `all else waits until it answers`,
        );
    }
  }));
}

/** Warns, at every start, of servers whose certificate is not checked. */
export function warnOfUnverified(config: Config, log: Logger): void {
  for (const role of ROLES) {
    const backend = config[role];
    if (backend === null || !isUnverified(backend)) continue;
    log.warning(
      `The certificate of the ${role} storage is not checked: whoever answers there can read and ` +
        `change what is stored; give its CA in ${role}.ca_cert_path instead of verify_ssl`,
    );
  }
}

function isUnverified(config: BackendConfig): boolean {
  return "verifySsl" in config && !config.verifySsl;
}

/** Warns of secrets in files that others can read. */
export function checkSecretFiles(
  config: Config,
  env: (name: string) => string | undefined,
  log: Logger,
): void {
  const backends = [config.primary, config.secondary].filter((backend) => backend !== null);
  const paths = backends.flatMap((backend) =>
    Object.entries(backend).filter(([field]) => field.endsWith("File")).map(([, path]) => path)
  );
  for (const path of [...paths, config.peerTokenFile, config.peerKeyPath]) {
    if (typeof path !== "string") continue;
    const warning = secretFileWarning(path, env);
    if (warning !== null) log.warning(warning);
  }
}

async function openOne(
  role: Role,
  open: () => Promise<Backend>,
  limits: Limits,
  metrics: BackendMetrics,
  right: WriteRight | null,
  isOnlyRead: boolean,
): Promise<{ replaceable: ReplaceableBackend; backend: RetryingBackend }> {
  try {
    const replaceable = new ReplaceableBackend(await open());
    const measured = new MeasuredBackend(replaceable, metrics.recorder(role));
    let allowed: Backend = measured;
    if (right !== null) {
      const leased = new LeasedBackend(measured, right);
      right.onLost(() => leased.cutOff());
      allowed = leased;
    }
    if (isOnlyRead) allowed = new ReadOnlyBackend(allowed);
    return { replaceable, backend: new RetryingBackend(new LimitedBackend(allowed, limits)) };
  } catch (error) {
    throw new EnvironmentError(`Cannot use the ${role} storage: ${describeError(error)}`);
  }
}

/**
 * Both backends share it: the machine has one line.
 * @param current The text in force, which may be another one later; null: no limit.
 * @param share Bytes a second that this daemon may use of what several share; null: no limit.
 */
function bandwidthGate(current: () => string | null, share: () => number | null): RateGate {
  let text: string | null = null;
  let bandwidth: Bandwidth | null = null;
  return new RateGate(() => {
    if (current() !== text) {
      text = current();
      bandwidth = text === null ? null : parseBandwidth(text);
    }
    const most = Math.max(1, share() ?? Infinity);
    if (bandwidth === null) return most;
    const now = new Date();
    return Math.min(most, bandwidthAt(bandwidth, now.getHours() * 60 + now.getMinutes()));
  });
}
