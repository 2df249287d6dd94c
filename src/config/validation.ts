/**
 * Checks values and whole JSON documents against the table of settings.
 *
 * @module
 */

import * as v from "valibot";
import { ConfigError } from "../errors.ts";
import { parseBandwidth } from "./bandwidth.ts";
import { isCronPattern } from "./cron_pattern.ts";
import { allowedText, GIB, type Kind, MAX_GIB } from "./kinds.ts";
import { parseListenAddress } from "./listen_address.ts";
import { parseLogLevels } from "./log_levels.ts";
import { nearest } from "./nearest.ts";
import { BACKEND_SETTINGS } from "./backend_settings.ts";
import { DAEMON_SETTINGS } from "./daemon_settings.ts";
import { ROLES, type Setting } from "./setting.ts";

/** A document whose keys are known and whose values are in the units of their fields. */
export type CheckedDocument = Readonly<Record<string, unknown>>;

/** Bytes of the longest path with its end, PATH_MAX of Linux. */
const PATH_MAX = 4096;

/** Characters of a wrong value that a message shows. */
const MOST_SHOWN = 200;

type ValueSchema = v.GenericSchema<unknown, unknown>;

/** The schema of one kind; issue messages say what is wrong, to stand after the value. */
function valueSchema(kind: Kind): ValueSchema {
  const string = v.pipe(
    v.string("not text"),
    v.check((text) => !/\p{Cc}/u.test(text), "not free of control characters such as a line break"),
  );
  const filled = v.pipe(string, v.minLength(1, "empty"));
  // What was pasted with a space too many: a key that is refused, a bucket that is not there.
  const bare = v.pipe(filled, v.check((text) => text === text.trim(), "padded with spaces"));
  switch (kind.is) {
    case "path":
    case "secretFile":
      return v.pipe(filled, v.maxLength(PATH_MAX - 1, "too long for a path"));
    case "bandwidth":
      return v.pipe(string, v.check((text) => parseBandwidth(text) !== null, "not such a rate"));
    case "cron":
      return v.pipe(string, v.check(isCronPattern, "no such pattern"));
    case "logLevels":
      return v.pipe(string, v.check((text) => parseLogLevels(text) !== null, "not such levels"));
    case "listenAddress":
      return v.pipe(
        string,
        v.check((text) => parseListenAddress(text) !== null, "not such an address"),
      );
    case "text":
      return kind.mayBeEmpty ? string : bare;
    case "bucket":
      return v.pipe(bare, v.check((text) => !text.includes("/"), "more than a name"));
    case "url":
      return v.pipe(
        string,
        v.check((text) => /^https?:\/\//.test(text) && URL.canParse(text), "not an http(s) URL"),
      );
    case "choice":
      return v.picklist(kind.of, "not one of these names");
    case "whole":
      return v.pipe(
        v.number("not a number"),
        v.integer("not a whole number"),
        v.minValue(kind.min, `below ${kind.min}`),
        v.maxValue(kind.max, `above ${kind.max}`),
      );
    case "gib":
      return v.pipe(
        v.number("not a number"),
        v.check((gib) => Math.round(gib * GIB) > 0, "not above 0"),
        v.maxValue(MAX_GIB, `above ${MAX_GIB}`),
        v.transform((gib) => Math.round(gib * GIB)),
      );
    case "switch":
      return kind.orText
        ? v.pipe(
          v.union([v.boolean(), v.picklist(["true", "false"])], "neither true nor false"),
          v.transform((value) => value === true || value === "true"),
        )
        : v.boolean("neither true nor false");
    case "globs":
      return v.array(filled, "not a list");
    case "fileMode":
      return v.pipe(
        string,
        v.regex(/^0?[0-7]{3}$/, "not octal permission bits"),
        v.transform((text) => parseInt(text, 8)),
      );
  }
}

function objectSchema(settings: readonly Setting[], more: v.ObjectEntries) {
  const entries: v.ObjectEntries = { ...more };
  for (const { key, kind } of settings) entries[key] = v.optional(valueSchema(kind));
  return v.pipe(
    v.unknown(),
    v.check((value) => !Array.isArray(value), "not an object"),
    v.strictObject(entries, "not an object"),
  );
}

/**
 * Checks one value and turns it into its field's unit.
 * @param what the flag or variable, with its value unless that is secret
 * @throws ConfigError
 */
export function checkValue(setting: Setting, value: unknown, what: string): unknown {
  const result = v.safeParse(valueSchema(setting.kind), value, { abortEarly: true });
  if (result.success) return result.output;
  throw new ConfigError(
    `Cannot use ${what}: ${result.issues[0].message}; allowed is ${allowedText(setting.kind)}`,
  );
}

/**
 * Checks a whole document.
 * @param file name of the file, for messages
 * @throws ConfigError for the first unknown key or wrong value
 */
export function checkDocument(document: unknown, file: string): CheckedDocument {
  const backend = v.optional(objectSchema(BACKEND_SETTINGS, {}));
  const schema = objectSchema(DAEMON_SETTINGS, {
    // Editors use it to find the schema that `config schema` prints.
    $schema: v.optional(v.string("not text")),
    ...Object.fromEntries(ROLES.map((role) => [role, backend])),
  });
  const result = v.safeParse(schema, document, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = (issue.path ?? []).map((item) => String(item.key));
  if (issue.type === "strict_object" && issue.expected === "never") {
    throw unknownKey(path, file);
  }
  const where = path.length === 0 ? file : `${path.join(".")} in ${file}`;
  const setting = settingAt(path);
  const shown = setting === null || setting.secret
    ? ""
    : `${shortened(JSON.stringify(issue.input))} is `;
  const allowed = setting === null ? "an object { … }" : allowedText(setting.kind);
  throw new ConfigError(
    `Cannot use ${where}: ${shown}${issue.message}; allowed is ${allowed}`,
  );
}

/** A value as it fits on one line of a message. */
export function shortened(text: string): string {
  const oneLine = text.replace(/\p{Cc}/gu, (char) => JSON.stringify(char).slice(1, -1));
  return oneLine.length <= MOST_SHOWN ? oneLine : `${oneLine.slice(0, MOST_SHOWN)}…`;
}

function settingAt(path: readonly string[]): Setting | null {
  const [first, second] = path;
  if (first === undefined) return null;
  const inBackend = ROLES.some((role) => role === first);
  const settings: readonly Setting[] = inBackend ? BACKEND_SETTINGS : DAEMON_SETTINGS;
  return settings.find((setting) => setting.key === (inBackend ? second : first)) ?? null;
}

function unknownKey(path: readonly string[], file: string): ConfigError {
  const name = path.at(-1) ?? "";
  const daemonKeys = DAEMON_SETTINGS.map((setting) => setting.key);
  const backendKeys = BACKEND_SETTINGS.map((setting) => setting.key);
  let meant: string | null;
  if (path.length === 1) {
    meant = backendKeys.includes(name)
      ? `primary.${name}`
      : nearest(name, [...daemonKeys, ...ROLES]);
  } else if (daemonKeys.includes(name)) {
    meant = `${name} outside ${path[0]}`;
  } else {
    const key = nearest(name, backendKeys);
    meant = key === null ? null : `${path[0]}.${key}`;
  }
  const hint = meant === null
    ? "'p4-cache config schema' lists all keys"
    : `did you mean ${meant}?`;
  return new ConfigError(`Cannot use ${path.join(".")} in ${file}: unknown key; ${hint}`);
}
