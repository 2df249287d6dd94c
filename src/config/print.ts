/**
 * Writes a configuration back as the JSON document that would give it, without its secrets.
 *
 * @module
 */

import type { BackendConfig, Config } from "./config.ts";
import { BACKEND_SETTINGS } from "./backend_settings.ts";
import { DAEMON_SETTINGS } from "./daemon_settings.ts";
import { ROLES, secretFileField, type Setting } from "./setting.ts";

/** What stands in a secret's place. */
const REDACTED = "***";

/** The effective configuration by JSON keys; settings without value are left out. */
export function configDocument(config: Config): Record<string, unknown> {
  const document = writeSettings(DAEMON_SETTINGS, config);
  for (const role of ROLES) {
    const backend: BackendConfig | null = config[role];
    if (backend === null) continue;
    const settings = BACKEND_SETTINGS.filter((setting) => setting.types.includes(backend.type));
    document[role] = writeSettings(settings, backend);
  }
  return document;
}

function writeSettings(settings: readonly Setting[], from: object): Record<string, unknown> {
  const values = new Map(Object.entries(from));
  const document: Record<string, unknown> = {};
  for (const setting of settings) {
    const { key, field, kind, secret } = setting;
    const value = values.get(field);
    // Sizes are written in bytes, by the key of that kind.
    if (value === null || value === undefined || kind.is === "gib") continue;
    // What was read from a file is the file's.
    if (values.get(secretFileField(setting) ?? "") != null) continue;
    if (secret) document[key] = REDACTED;
    else if (kind.is === "fileMode") document[key] = value.toString(8).padStart(4, "0");
    else document[key] = value;
  }
  return document;
}
