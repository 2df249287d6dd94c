/**
 * Reads the JSON configuration file and tells where its syntax is wrong, or odd.
 *
 * @module
 */

import { ConfigError, reasonOf } from "../errors.ts";
import { repeatedKeys } from "./repeated_keys.ts";

/** Reads one file's text; throws as `Deno.readTextFileSync` does. */
export type ReadText = (path: string) => string;

/** What a file holds. */
export interface Document {
  readonly value: unknown;
  /** What is allowed, but hardly meant; one line each. */
  readonly warnings: readonly string[];
}

/**
 * Parses the file as JSON.
 * @throws ConfigError naming the file, and line and column of a syntax error.
 */
export function readDocument(path: string, readText: ReadText): Document {
  let text: string;
  try {
    text = readText(path);
  } catch (error) {
    throw new ConfigError(`Cannot read ${path}: ${readProblem(error)}`);
  }
  if (text.startsWith("\uFEFF")) text = text.slice(1);
  try {
    return { value: JSON.parse(text), warnings: warningsOf(path, text) };
  } catch (error) {
    const { line, column } = lineAndColumn(text, errorOffset(text, (error as Error).message));
    throw new ConfigError(
      `Cannot read ${path} at line ${line}, column ${column}: ${reason((error as Error).message)}` +
        "; the file must be JSON without comments",
    );
  }
}

function warningsOf(path: string, text: string): string[] {
  return repeatedKeys(text).map((key) => {
    const { line, column } = lineAndColumn(text, key.offset);
    return `${path} has ${key.path} once more at line ${line}, column ${column}: the last one counts; ` +
      "remove the others";
  });
}

function readProblem(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "no such file; --config takes a JSON file";
  if (error instanceof Deno.errors.PermissionDenied) {
    return "permission denied; run it as root or the daemon's user";
  }
  if (error instanceof Deno.errors.IsADirectory) {
    return "it is a directory; --config takes a JSON file";
  }
  return reasonOf(error);
}

/** The engine's message without the position and the quoted input, which we say ourselves. */
function reason(message: string): string {
  return message
    .replace(/ (in|after) JSON at position.*$/s, "")
    .replace(/^Unexpected token .*$/s, "unexpected character")
    .replace("end of JSON input", "end of the file")
    .replace(/^./, (letter) => letter.toLowerCase());
}

/** Offset of the first wrong character. */
function errorOffset(text: string, message: string): number {
  const position = /at position (\d+)/.exec(message);
  if (position) return Number(position[1]);
  if (!message.startsWith("Unexpected token")) return text.length;
  // This one message has no position. A prefix gives it exactly when it reaches the wrong token.
  let good = 0;
  let bad = text.length;
  while (bad - good > 1) {
    const middle = (good + bad) >> 1;
    if (hasBadToken(text.slice(0, middle))) bad = middle;
    else good = middle;
  }
  return bad - 1;
}

function hasBadToken(text: string): boolean {
  try {
    JSON.parse(text);
    return false;
  } catch (error) {
    return (error as Error).message.startsWith("Unexpected token");
  }
}

function lineAndColumn(text: string, offset: number): { line: number; column: number } {
  const before = text.slice(0, offset).split("\n");
  return { line: before.length, column: (before.at(-1)?.length ?? 0) + 1 };
}
