/**
 * Kinds of setting values: how each reads from a flag's text, and what people are told is allowed.
 * Kept free of the validation library so that `--help` starts fast.
 *
 * @module
 */

import { LOG_MODULES } from "./log_levels.ts";

/** Bytes of one GiB; "GB" in flags and keys means this. */
export const GIB = 1024 ** 3;

/** Most GiB that still are an exact number of bytes. */
export const MAX_GIB = Math.floor(Number.MAX_SAFE_INTEGER / GIB);

/** What a setting's value can be. */
export type Kind =
  /** A file or directory; becomes absolute. */
  | { readonly is: "path" }
  | { readonly is: "text"; readonly mayBeEmpty?: true }
  /** A bucket's or container's name, without what comes behind it. */
  | { readonly is: "bucket" }
  | { readonly is: "url" }
  | { readonly is: "choice"; readonly of: readonly string[] }
  | { readonly is: "whole"; readonly min: number; readonly max: number; readonly unit: string }
  /** GiB as written, decimals allowed; becomes bytes. */
  | { readonly is: "gib" }
  /** True or false; `orText` accepts the words as strings in JSON too. */
  | { readonly is: "switch"; readonly orText?: true }
  | { readonly is: "globs" }
  /** Octal permission bits as text; become a number. */
  | { readonly is: "fileMode" }
  /** A file with a secret; `$CREDENTIALS_DIRECTORY/` at its start is filled in. */
  | { readonly is: "secretFile" }
  /** Bytes a second, by time of day, as `bandwidth.ts` reads it; stays text. */
  | { readonly is: "bandwidth" }
  /** Levels of single modules, as `log_levels.ts` reads them; stay text. */
  | { readonly is: "logLevels" }
  /** Minute, hour, day, month and weekday as cron(5) reads them; stay text. */
  | { readonly is: "cron" }
  /** Where HTTP is served, as `listen_address.ts` reads it; stays text. */
  | { readonly is: "listenAddress" };

/** Kinds that many settings share. */
export const PATH: Kind = { is: "path" };
export const TEXT: Kind = { is: "text" };
export const SWITCH: Kind = { is: "switch" };
export const count = (max: number): Kind => ({ is: "whole", min: 1, max, unit: "" });
export const bytes: Kind = { is: "whole", min: 1, max: Number.MAX_SAFE_INTEGER, unit: "bytes" };
export const seconds = (min: number, max: number): Kind => ({
  is: "whole",
  min,
  max,
  unit: "seconds",
});
export const mebibytes = (min: number, max: number): Kind => ({
  is: "whole",
  min,
  max,
  unit: "MiB",
});

const DECIMAL = /^-?\d+(\.\d+)?$/;

/** A flag's or variable's text as the JSON value it stands for; unreadable numbers stay text. */
export function valueOfText(kind: Kind, text: string): unknown {
  if (kind.is !== "whole" && kind.is !== "gib") return text;
  return DECIMAL.test(text) ? Number(text) : text;
}

/** What is allowed, to stand after "allowed is". */
export function allowedText(kind: Kind): string {
  switch (kind.is) {
    case "path":
      return "a path";
    case "text":
      return kind.mayBeEmpty ? "text" : "text of at least one character";
    case "bucket":
      return "a name; what stands behind it goes into path_prefix";
    case "url":
      return "a URL such as https://host:9000";
    case "choice":
      return kind.of.join(", ").replace(/, ([^,]*)$/, " or $1");
    case "whole":
      return `a whole number from ${kind.min} to ${kind.max}` + (kind.unit && ` (${kind.unit})`);
    case "gib":
      return `a number of GiB above 0, at most ${MAX_GIB}`;
    case "switch":
      return "true or false";
    case "globs":
      return 'a list of globs such as ["*.bak"]';
    case "fileMode":
      return 'octal permission bits in quotes such as "0660"';
    case "secretFile":
      return "a path; $CREDENTIALS_DIRECTORY/NAME is a systemd credential";
    case "bandwidth":
      return 'a rate such as "50MB", 1KB at least, or rates by time of day such as "08:00-18:00=20MB, 200MB"';
    case "logLevels":
      return `levels such as "upload=debug, evict=warning" of ${LOG_MODULES.join(" ")}`;
    case "cron":
      return 'five fields such as "30 2 * * *": minute, hour, day, month, weekday';
    case "listenAddress":
      return 'host:port such as "127.0.0.1:9180" or "[::1]:9180", or "unix:/path"';
  }
}

/** Name of the value in usage lines; null for a flag that takes none. */
export function placeholder(kind: Kind): string | null {
  switch (kind.is) {
    case "switch":
      return null;
    case "whole":
    case "gib":
      return "n";
    case "choice":
      return "type";
    case "path":
    case "secretFile":
      return "path";
    case "url":
      return "url";
    case "bandwidth":
      return "rate";
    case "listenAddress":
      return "address";
    default:
      return "text";
  }
}
