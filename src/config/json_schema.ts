/**
 * Writes the table of settings as a JSON Schema, for editors and for checks before a rollout.
 *
 * @module
 */

import { type Kind, MAX_GIB } from "./kinds.ts";
import { BACKEND_SETTINGS } from "./backend_settings.ts";
import { DAEMON_SETTINGS } from "./daemon_settings.ts";
import { BACKEND_TYPES, type Setting } from "./setting.ts";

type Json = Record<string, unknown>;

/** The schema of the configuration file (JSON Schema 2020-12). */
export function jsonSchema(): Json {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "p4-cache configuration",
    type: "object",
    additionalProperties: false,
    properties: {
      $schema: { type: "string" },
      ...properties(DAEMON_SETTINGS),
      primary: { $ref: "#/$defs/backend", description: "where files are kept" },
      secondary: { $ref: "#/$defs/backend", description: "read when the primary has no such file" },
    },
    // Only one spelling of a size may be given.
    allOf: twins().map((keys) => ({ not: { required: keys } })),
    $defs: { backend: { oneOf: BACKEND_TYPES.map(backendSchema) } },
  };
}

function backendSchema(type: string): Json {
  const settings = BACKEND_SETTINGS.filter((setting) => setting.types.some((has) => has === type));
  return {
    type: "object",
    additionalProperties: false,
    required: settings.filter((setting) => setting.required).map((setting) => setting.key),
    properties: { ...properties(settings), type: { const: type } },
  };
}

function properties(settings: readonly Setting[]): Json {
  return Object.fromEntries(settings.map((setting) => [setting.key, valueSchema(setting)]));
}

function valueSchema(setting: Setting): Json {
  const isPlain = setting.fallbackText === undefined && setting.fallback !== null;
  return {
    ...kindSchema(setting.kind),
    description: `${setting.help}` +
      (setting.fallbackText ? `; default ${setting.fallbackText}` : ""),
    ...(isPlain ? { default: setting.fallback } : {}),
  };
}

function kindSchema(kind: Kind): Json {
  switch (kind.is) {
    case "path":
    case "secretFile":
    case "bandwidth":
    case "cron":
    case "logLevels":
    case "listenAddress":
      return { type: "string", minLength: 1 };
    case "text":
      return kind.mayBeEmpty ? { type: "string" } : { type: "string", minLength: 1 };
    case "bucket":
      return { type: "string", pattern: "^[^/]+$" };
    case "url":
      return { type: "string", format: "uri", pattern: "^https?://" };
    case "choice":
      return { enum: kind.of };
    case "whole":
      return { type: "integer", minimum: kind.min, maximum: kind.max };
    case "gib":
      return { type: "number", exclusiveMinimum: 0, maximum: MAX_GIB };
    case "switch":
      return kind.orText ? { enum: [true, false, "true", "false"] } : { type: "boolean" };
    case "globs":
      return { type: "array", items: { type: "string", minLength: 1 } };
    case "fileMode":
      return { type: "string", pattern: "^0?[0-7]{3}$" };
  }
}

/** Keys that set the same field, field by field. */
function twins(): string[][] {
  const byField = Map.groupBy(DAEMON_SETTINGS, (setting) => setting.field);
  return [...byField.values()]
    .filter((settings) => settings.length > 1)
    .map((settings) => settings.map((setting) => setting.key));
}
