/**
 * What a setting is. The settings themselves stand in two tables, `daemon_settings.ts` and
 * `backend_settings.ts`; flags, JSON keys, defaults, validation, `--help`, the JSON Schema and the
 * reference page all come from these.
 *
 * @module
 */

import type {
  AzureConfig,
  BackendType,
  Config,
  GcsConfig,
  NfsConfig,
  PeerConfig,
  S3Config,
} from "./config.ts";
import type { Kind } from "./kinds.ts";

/** One setting. Two settings with the same field are two spellings of it; only one may be given. */
export interface Setting {
  /** JSON key; below `primary` or `secondary` for a backend's setting. */
  readonly key: string;
  /** Property of the parsed configuration. */
  readonly field: string;
  /** Flag without dashes, without `primary-` or `secondary-`; null: JSON only. */
  readonly flag: string | null;
  /** Value that a valueless flag stands for; true unless given. */
  readonly flagStandsFor?: false;
  readonly kind: Kind;
  /** In the unit of the field; null: none, or worked out from other settings. */
  readonly fallback: string | number | boolean | null | readonly string[];
  /** The default in words, where the value alone does not say it. */
  readonly fallbackText?: string;
  readonly required?: true;
  /** Environment variable read when neither flag nor key is given. */
  readonly env?: string;
  /** One line for `--help` and the reference. */
  readonly help: string;
  /** Never shown. */
  readonly secret?: true;
}

/** A setting of the daemon itself. */
export interface DaemonSetting extends Setting {
  readonly field: keyof Config;
  readonly group: string;
}

/** A setting of a storage backend. */
export interface BackendSetting extends Setting {
  readonly field:
    | keyof S3Config
    | keyof AzureConfig
    | keyof GcsConfig
    | keyof NfsConfig
    | keyof PeerConfig;
  /** Storage types that have it. */
  readonly types: readonly BackendType[];
}

/** The two backends a daemon can have. */
export type Role = "primary" | "secondary";

/** All of them. */
export const ROLES: readonly Role[] = ["primary", "secondary"];

/** All types of storage. */
export const BACKEND_TYPES: readonly BackendType[] = ["s3", "azure", "gcs", "nfs", "peer"];

/** Name of the flag that names the JSON file. */
export const CONFIG_FLAG = "--config";

/** Field of the file that a secret can be read from instead. */
export function secretFileField(setting: Setting): string | null {
  return setting.secret ? `${setting.field}File` : null;
}

/** The flag's full name as typed, or null where the setting has none. */
export function flagName(setting: Setting, role: Role | null): string | null {
  if (setting.flag === null) return null;
  return role === null ? `--${setting.flag}` : `--${role}-${setting.flag}`;
}

/** The JSON key's path as typed: `primary.bucket`. */
export function keyPath(setting: Setting, role: Role | null): string {
  return role === null ? setting.key : `${role}.${setting.key}`;
}
