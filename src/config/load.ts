/**
 * Puts the configuration together: flags win over the JSON file, the file over the environment, the
 * environment over defaults. Nothing is written; only what the settings name is looked at.
 *
 * @module
 */

import { basename, join, resolve } from "node:path/posix";
import { placeConfig } from "./place_config.ts";
import { STATE_DIR } from "../depot_path.ts";
import { ConfigError, fileProblem } from "../errors.ts";
import type { AzureConfig, BackendConfig, BackendType, Config } from "./config.ts";
import { readDocument } from "./document.ts";
import { GIB, valueOfText } from "./kinds.ts";
import { isLocal, parseListenAddress } from "./listen_address.ts";
import { checkPeer, settlePeerListen } from "./peer_checks.ts";
import { settleS3 } from "./s3_checks.ts";
import { requirePem } from "./pem_file.ts";
import { refuseSameStorage } from "./storage_place.ts";
import { credentialPath, readSecret } from "./secret_file.ts";
import { BACKEND_SETTINGS } from "./backend_settings.ts";
import { DAEMON_SETTINGS } from "./daemon_settings.ts";
import {
  BACKEND_TYPES,
  type BackendSetting,
  CONFIG_FLAG,
  flagName,
  keyPath,
  type Role,
  secretFileField,
  type Setting,
} from "./setting.ts";
import { checkDocument, type CheckedDocument, checkValue, shortened } from "./validation.ts";

/** Flags as typed (`--max-cache-gb`) with their text; `true` for a flag without value. */
export type FlagValues = ReadonlyMap<string, string | true>;

/** An environment variable's value. */
export type ReadEnv = (name: string) => string | undefined;

/** What the loader needs of the file system. */
export type ConfigFiles = Pick<
  typeof Deno,
  "readTextFileSync" | "statSync" | "realPathSync" | "cwd"
>;

/** Settings that name PEM files, and what has to be in them. */
const PEM_FILES = [
  ["caCertPath", "certificate"],
  ["clientCertPath", "certificate"],
  ["clientKeyPath", "private key"],
] as const;

/** A value and where it came from, for messages. */
interface Given {
  readonly value: unknown;
  readonly from: string;
}

/** The places a setting can be given, besides its default. */
interface Sources {
  readonly flags: FlagValues;
  readonly env: ReadEnv;
  readonly document: CheckedDocument;
  readonly file: string;
}

/**
 * Loads and checks the whole configuration.
 * @throws ConfigError for the first problem found
 */
export function loadConfig(
  flags: FlagValues,
  env: ReadEnv,
  files: ConfigFiles = Deno,
): Config {
  const file = flags.get(CONFIG_FLAG);
  const read = typeof file === "string" ? readDocument(file, files.readTextFileSync) : null;
  const document = read === null ? {} : checkDocument(read.value, String(file));
  const sources: Sources = { flags, env, document, file: String(file) };
  const given = collect(DAEMON_SETTINGS, null, sources);
  const values = settle(DAEMON_SETTINGS, given, null, files.cwd());
  const depotPath = values.depotPath as string;
  requireDirectory(depotPath, given.get("depotPath")?.from ?? "", files);
  const primary = loadBackend("primary", sources, depotPath, files);
  if (primary === null) {
    throw new ConfigError(
      "Cannot start without a storage backend: give --primary-type or primary.type; " +
        `allowed is ${BACKEND_TYPES.join(", ")}`,
    );
  }
  values.primary = primary;
  const secondary = loadBackend("secondary", sources, depotPath, files);
  refuseSameStorage(primary, secondary, files.realPathSync);
  values.secondary = secondary;
  values.warnings = read?.warnings ?? [];
  values.accessDbPath ??= join(depotPath, STATE_DIR, "access");
  checkAccessPath(values.accessDbPath as string, given.get("accessDbPath")?.from ?? "", depotPath);
  settleWatermark(values, given);
  checkListen(values, given);
  settlePeerListen(values, env, files);
  // Only to have a place that cannot be reached refused.
  placeConfig(primary, values.backupTo as string | null, given.get("backupTo")?.from);
  return values as unknown as Config;
}

/** The given value of every field, the strongest source first. */
function collect(
  settings: readonly Setting[],
  role: Role | null,
  sources: Sources,
): Map<string, Given> {
  const fields = new Map<string, Given>();
  for (const level of [fromFlag, fromDocument, fromEnv]) {
    const seen = new Map<string, string>();
    for (const setting of settings) {
      const found = level(setting, role, sources);
      if (found === null) continue;
      const other = seen.get(setting.field);
      if (other !== undefined) {
        throw new ConfigError(`Cannot use ${other} and ${found.from} together: give only one`);
      }
      seen.set(setting.field, found.from);
      if (!fields.has(setting.field)) fields.set(setting.field, found);
    }
  }
  return fields;
}

function fromFlag(setting: Setting, role: Role | null, { flags }: Sources): Given | null {
  const name = flagName(setting, role);
  const text = name === null ? undefined : flags.get(name);
  if (name === null || text === undefined) return null;
  if (text === true) return { value: setting.flagStandsFor ?? true, from: name };
  const what = setting.secret ? name : `${name} '${shortened(text)}'`;
  return { value: checkValue(setting, valueOfText(setting.kind, text), what), from: name };
}

function fromDocument(setting: Setting, role: Role | null, sources: Sources): Given | null {
  const scope = role === null ? sources.document : sources.document[role] as CheckedDocument;
  const value = scope?.[setting.key];
  if (value === undefined) return null;
  return { value, from: `${keyPath(setting, role)} in ${sources.file}` };
}

function fromEnv(setting: Setting, _role: Role | null, { env }: Sources): Given | null {
  // With a session token the two keys are only good together with it: the SDK reads all three.
  if (setting.env === undefined || env("AWS_SESSION_TOKEN")) return null;
  const value = env(setting.env);
  return value ? { value: checkValue(setting, value, setting.env), from: setting.env } : null;
}

/** Fills in defaults, makes paths absolute, and insists on what is required. */
function settle(
  settings: readonly Setting[],
  given: ReadonlyMap<string, Given>,
  role: Role | null,
  directory: string,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const setting of settings) {
    const found = given.get(setting.field);
    if (found === undefined && setting.required) {
      throw new ConfigError(
        `Cannot start without ${keyPath(setting, role)} (${setting.help}): ` +
          `give ${flagName(setting, role)} or the JSON key in the file of --config`,
      );
    }
    const value = found === undefined ? setting.fallback : found.value;
    const isPath = setting.kind.is === "path" && typeof value === "string";
    values[setting.field] = isPath ? resolve(directory, value) : value;
  }
  return values;
}

/** One backend, or null when nothing of it is given. */
function loadBackend(
  role: Role,
  sources: Sources,
  depotPath: string,
  files: ConfigFiles,
): BackendConfig | null {
  const given = collect(BACKEND_SETTINGS, role, { ...sources, env: () => undefined });
  if (given.size === 0 && sources.document[role] === undefined) return null;
  const type = given.get("type")?.value as BackendType | undefined;
  const settings = type === undefined
    ? BACKEND_SETTINGS.filter((setting) => setting.field === "type")
    : BACKEND_SETTINGS.filter((setting) => setting.types.includes(type));
  for (const setting of BACKEND_SETTINGS) {
    const found = given.get(setting.field);
    if (type !== undefined && found !== undefined && !setting.types.includes(type)) {
      throw new ConfigError(
        `Cannot use ${found.from}: a backend of type ${type} has no such setting; ` +
          `allowed is ${settingNames(settings)}`,
      );
    }
  }
  const values = settle(settings, collect(settings, role, sources), role, files.cwd());
  readSecrets(settings, values, given, sources.env, files);
  if (type === "nfs") {
    checkNfsPath(values.path as string, given.get("path")?.from ?? "", depotPath, files);
    return values as unknown as BackendConfig;
  }
  if (type !== "peer") {
    const prefix = (values.prefix ?? basename(depotPath)) as string;
    values.prefix = prefix.replace(/^\/+|\/+$/g, "");
  }
  values.endpoint = (values.endpoint as string | null)?.replace(/\/+$/, "") ?? null;
  for (const field of ["caCertPath", "clientCertPath", "clientKeyPath", "credentialsFile"]) {
    if (typeof values[field] === "string") {
      requireFile(values[field], given.get(field)?.from ?? "", files);
    }
  }
  const backend = values as unknown as BackendConfig;
  checkClientCert(backend, role);
  for (const [field, wanted] of PEM_FILES) {
    const path = values[field];
    if (typeof path === "string") requirePem(path, given.get(field)?.from ?? "", wanted, files);
  }
  if (backend.type === "s3") {
    const keys = given.get("accessKey") ?? given.get("accessKeyFile");
    return settleS3(backend, role, keys?.from ?? null);
  }
  if (backend.type === "azure") checkAzureKeys(backend, role);
  return backend.type === "peer" ? checkPeer(backend, role) : backend;
}

/** Files of secrets: finds each, and fills in what stands in it. */
function readSecrets(
  settings: readonly BackendSetting[],
  values: Record<string, unknown>,
  given: ReadonlyMap<string, Given>,
  env: ReadEnv,
  files: ConfigFiles,
): void {
  for (const { field, kind } of settings) {
    const path = values[field];
    if (kind.is !== "secretFile" || typeof path !== "string") continue;
    const from = given.get(field)?.from ?? "";
    const found = resolve(files.cwd(), credentialPath(path, from, env));
    values[field] = found;
    const secret = settings.find((setting) => secretFileField(setting) === field);
    if (secret === undefined) continue;
    const other = given.get(secret.field);
    if (other !== undefined) {
      throw new ConfigError(`Cannot use ${other.from} and ${from} together: give only one`);
    }
    values[secret.field] = readSecret(found, from, files);
  }
}

function settingNames(settings: readonly BackendSetting[]): string {
  return settings.map((setting) => setting.key).join(", ");
}

function checkClientCert(backend: BackendConfig, role: Role): void {
  if (backend.type === "nfs") return;
  if ((backend.clientCertPath === null) === (backend.clientKeyPath === null)) {
    if (backend.clientCertPath === null || !("verifySsl" in backend) || backend.verifySsl) return;
    // The runtime's unverified TLS shows no certificate.
    throw new ConfigError(
      `Cannot use ${role}.client_cert_path without verifying the server: give its CA in ` +
        `${role}.ca_cert_path instead of turning ${role}.verify_ssl off`,
    );
  }
  throw new ConfigError(
    `Cannot use one of ${role}.client_cert_path and ${role}.client_key_path alone: give both`,
  );
}

function checkAzureKeys(backend: AzureConfig, role: Role): void {
  if (backend.accountKey !== null && backend.sasToken !== null) {
    throw new ConfigError(
      `Cannot use ${role}.account_key and ${role}.sas_token together: give only one`,
    );
  }
  if (backend.accountName !== null) return;
  if (backend.accountKey !== null || backend.endpoint === null) {
    throw new ConfigError(
      `Cannot start without ${role}.account_name (storage account): ` +
        `give --${role}-account-name or the JSON key in the file of --config`,
    );
  }
}

/** A store inside the depot would be cached into itself. */
function checkNfsPath(path: string, from: string, depotPath: string, files: ConfigFiles): void {
  requireDirectory(path, from, files);
  const depot = files.realPathSync(depotPath);
  const store = files.realPathSync(path);
  if (store === depot || store.startsWith(depot.replace(/\/*$/, "/"))) {
    throw new ConfigError(
      `Cannot use ${from} '${path}': it is inside the depot ${depotPath}; ` +
        "allowed is a directory outside of it",
    );
  }
}

/** A database among the depot's files would be cached as one of them. */
function checkAccessPath(path: string, from: string, depotPath: string): void {
  if (!isWithin(path, depotPath) || isWithin(path, join(depotPath, STATE_DIR))) return;
  throw new ConfigError(
    `Cannot use ${from} '${path}': it is among the files of the depot ${depotPath}; ` +
      `allowed is a directory outside of it, or in its ${STATE_DIR}`,
  );
}

function isWithin(path: string, dir: string): boolean {
  return path === dir || path.startsWith(dir.replace(/\/*$/, "/"));
}

/** What HTTP tells has names of depot files, and asks for no login: other machines have to be meant. */
function checkListen(values: Record<string, unknown>, given: ReadonlyMap<string, Given>): void {
  const text = values.httpListen as string | null;
  const address = text === null ? null : parseListenAddress(text);
  if (address === null || isLocal(address) || values.httpAllowRemote === true) return;
  throw new ConfigError(
    `Cannot use ${
      given.get("httpListen")?.from
    } '${text}': other machines reach it; allowed is a ` +
      "loopback address or unix:/path, any other with http_allow_remote",
  );
}

/** The watermark's default gives way to a smaller maximum; a given one does not. */
function settleWatermark(values: Record<string, unknown>, given: ReadonlyMap<string, Given>): void {
  const max = values.maxCacheBytes as number;
  const low = values.lowWatermarkBytes as number;
  if (low <= max) return;
  const from = given.get("lowWatermarkBytes")?.from;
  if (from === undefined) {
    values.lowWatermarkBytes = Math.floor(max * 0.8);
    return;
  }
  const maxFrom = given.get("maxCacheBytes")?.from ?? "the default";
  throw new ConfigError(
    `Cannot use ${from}: ${sizeText(low)} is above the maximum of ${sizeText(max)} (${maxFrom}); ` +
      "allowed is at most the maximum",
  );
}

function sizeText(sizeBytes: number): string {
  return sizeBytes % (GIB / 8) === 0 ? `${sizeBytes / GIB} GiB` : `${sizeBytes} bytes`;
}

function requireDirectory(path: string, from: string, files: ConfigFiles): void {
  if (!look(path, from, "an existing directory", files).isDirectory) {
    throw new ConfigError(
      `Cannot use ${from} '${path}': not a directory; allowed is an existing directory`,
    );
  }
}

function requireFile(path: string, from: string, files: ConfigFiles): void {
  if (look(path, from, "an existing file", files).isDirectory) {
    throw new ConfigError(
      `Cannot use ${from} '${path}': it is a directory; allowed is an existing file`,
    );
  }
}

function look(path: string, from: string, allowed: string, files: ConfigFiles): Deno.FileInfo {
  try {
    return files.statSync(path);
  } catch (error) {
    const why = fileProblem(error);
    throw new ConfigError(`Cannot use ${from} '${path}': ${why}; allowed is ${allowed}`);
  }
}
