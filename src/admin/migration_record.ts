/**
 * What is remembered of a migration that found everything of the secondary in the primary: the doctor
 * tells from it that the secondary can be removed.
 *
 * @module
 */

import * as v from "valibot";
import type { BackendConfig } from "../config/config.ts";
import { PLACE_FIELDS } from "../config/live.ts";

/** Below the state directory. */
const FILE = "migrated.json";

const RECORD = v.object({
  /** Where the objects were and are, as {@link placeText} writes it. */
  from: v.string(),
  to: v.string(),
  /** UTC. */
  completedAt: v.string(),
  /** Objects of the secondary that were looked at. */
  objects: v.number(),
});

/** See the module. */
export type MigrationRecord = v.InferOutput<typeof RECORD>;

/** Where a backend keeps its objects; the same for the same place, whatever its credentials. */
export function placeText(backend: BackendConfig): string {
  return Object.entries(backend)
    .filter(([field, value]) => PLACE_FIELDS.has(field) && value !== null && value !== "")
    .map(([field, value]) => `${field}=${value}`)
    .sort()
    .join(" ");
}

/** The record of this migration; null when there is none. */
export function readMigration(
  stateDir: string,
  primary: BackendConfig,
  secondary: BackendConfig,
): MigrationRecord | null {
  let text: string;
  try {
    text = Deno.readTextFileSync(`${stateDir}/${FILE}`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const result = v.safeParse(RECORD, parsed(text));
  if (!result.success) return null;
  const { from, to } = result.output;
  return from === placeText(secondary) && to === placeText(primary) ? result.output : null;
}

/** Remembers that everything is there, or that it is not (null). */
export function recordMigration(stateDir: string, record: MigrationRecord | null): void {
  const path = `${stateDir}/${FILE}`;
  if (record !== null) {
    Deno.writeTextFileSync(`${path}.new`, JSON.stringify(record) + "\n");
    return Deno.renameSync(`${path}.new`, path);
  }
  try {
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
