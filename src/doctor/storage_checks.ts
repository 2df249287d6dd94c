/**
 * Checks of the storage: whether it can be used, how quickly it answers, whether clocks agree.
 *
 * @module
 */

import type { BackendConfig, Config } from "../config/config.ts";
import { type Role, ROLES } from "../config/setting.ts";
import { describeError } from "../observe/logging.ts";
import { openHttpClient } from "../storage/http_client.ts";
import { openBackend } from "../storage/open_backend.ts";
import { probeBackend } from "../storage/probe.ts";
import { fail, type Finding, ok, skip, warn } from "./finding.ts";

type RemoteConfig = Exclude<BackendConfig, { type: "nfs" }>;

/** Longest wait for an answer, ms. */
const TIMEOUT_MS = 10_000;

/** An answer later than this makes every restore slow, ms. */
const SLOW_MS = 1000;

/** S3 refuses signatures that are 15 minutes off; this is the time to do something, s. */
const SKEW_SECONDS = 60;
const REFUSED_SKEW_SECONDS = 15 * 60;

/** Tries each backend with the configuration's own credentials. */
export async function checkStorage(config: Config): Promise<Finding[]> {
  const findings: Finding[] = [];
  for (const role of ROLES) {
    const backend = config[role];
    if (backend === null) continue;
    findings.push(await checkBackend(role, backend, role === "primary" && !config.readOnly));
    const clock = backend.type === "nfs" ? null : await checkClock(role, backend);
    if (clock !== null) findings.push(clock);
  }
  return findings;
}

async function checkBackend(
  role: Role,
  config: BackendConfig,
  mayWrite: boolean,
): Promise<Finding> {
  const name = `${role} storage`;
  let backend: Awaited<ReturnType<typeof openBackend>>;
  try {
    backend = await openBackend(config);
  } catch (error) {
    return fail(name, describeError(error), `correct the settings below ${role}`);
  }
  try {
    const begunMs = performance.now();
    const result = await probeBackend(backend, mayWrite, TIMEOUT_MS);
    const ms = Math.round(performance.now() - begunMs);
    const what = mayWrite ? "stored, read and removed an object" : "asked for an object";
    switch (result.kind) {
      case "usable":
        if (ms <= SLOW_MS) return ok(name, `${backend.label}: ${what} in ${ms} ms`);
        return warn(
          name,
          `${backend.label}: ${what}, but in ${ms} ms`,
          "use a region or server that is nearer; each restore waits for it",
        );
      case "keeps":
        return warn(name, result.why, "allow removing objects, or set probe to false");
      case "refused":
        return fail(name, result.why, "correct credentials, bucket or permissions");
      case "unreachable":
        return fail(name, result.why, "check endpoint, name resolution, proxy and firewall");
    }
  } finally {
    await backend.close().catch(() => {});
  }
}

/** Null: there is no clock to compare with. */
async function checkClock(role: Role, config: RemoteConfig): Promise<Finding | null> {
  const url = endpointOf(config);
  if (url === null) return null;
  const name = `${role} clock`;
  try {
    const begunMs = Date.now();
    const date = Date.parse(await dateOf(url, config) ?? "");
    if (Number.isNaN(date)) return skip(name, `${url} tells no time`);
    // The header has whole seconds: half a second more is the best guess.
    const skew = Math.round(Math.abs(date + 500 - (begunMs + Date.now()) / 2) / 1000);
    const what = `this machine's clock is ${skew} s off from that of ${url}`;
    const fix = "run chrony or systemd-timesyncd";
    if (skew >= REFUSED_SKEW_SECONDS) return fail(name, what, fix);
    return skew >= SKEW_SECONDS ? warn(name, what, fix) : ok(name, what);
  } catch (error) {
    // The check of the storage says what to do.
    return skip(name, `${url} was not reached: ${describeError(error)}`);
  }
}

/** What the server says the time is; asked as the backend asks, with its certificates. */
async function dateOf(url: string, config: RemoteConfig): Promise<string | null> {
  const { http: { platform }, origin, close } = await openHttpClient(
    { verifySsl: true, ...config },
    new URL(url).origin,
  );
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(origin, { method: "HEAD", signal, client: platform });
    await response.body?.cancel();
    return response.headers.get("date");
  } finally {
    await close();
  }
}

function endpointOf(config: RemoteConfig): string | null {
  if (config.endpoint !== null) return config.endpoint;
  switch (config.type) {
    case "s3":
      return `https://s3.${config.region}.amazonaws.com/`;
    case "azure":
      return config.accountName && `https://${config.accountName}.blob.core.windows.net/`;
    case "gcs":
      return "https://storage.googleapis.com/";
    case "peer":
      return config.endpoint;
  }
}
