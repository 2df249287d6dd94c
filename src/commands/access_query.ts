/**
 * What every access query has in common: which log, where the answer goes, and how entries are walked.
 *
 * @module
 */

import { join, resolve } from "node:path/posix";
import { AccessReader, type AccessRow } from "../access/access_reader.ts";
import { STATE_DIR } from "../depot_path.ts";
import { readDocument } from "../config/document.ts";
import { ByteOutput, ReaderGone } from "./byte_output.ts";
import type { QueryOptions } from "./access_options.ts";
import { chosenConfig, findDepot } from "./control_client.ts";
import { startProgress } from "./progress.ts";

/** A query under way. */
export interface Query {
  readonly log: AccessReader;
  readonly output: ByteOutput;
  readonly options: QueryOptions;
}

/** Opens log and output, runs the query, closes both. A reader that went away ends it quietly. */
export async function runQuery(
  options: QueryOptions,
  query: (query: Query) => Promise<void> | void,
): Promise<void> {
  const log = new AccessReader(logDirectory(options));
  try {
    const output = new ByteOutput(options.output ?? null);
    try {
      await query({ log, output, options });
    } catch (error) {
      if (!(error instanceof ReaderGone)) throw error;
    } finally {
      output.close();
    }
  } finally {
    log.close();
  }
}

/** Calls `visit` with each entry below the prefix until it returns false; shows how far it is. */
export async function walk(
  { log, output }: Query,
  prefix: Uint8Array,
  visit: (row: AccessRow) => boolean | void,
): Promise<void> {
  const progress = output.isScreen ? null : startProgress("entries", log.info().entries);
  let done = 0;
  try {
    for await (const page of log.pages(prefix)) {
      for (const row of page) {
        if (visit(row) === false) return;
        done++;
      }
      progress?.update(done, null, "");
    }
  } finally {
    progress?.stop();
  }
}

/** Where the access log of the depot that is meant lies. */
function logDirectory(options: QueryOptions): string {
  if (options.db !== undefined) return resolve(Deno.cwd(), options.db);
  const config = chosenConfig(options);
  if (config !== null) {
    const document = readDocument(config, Deno.readTextFileSync).value;
    const path = (document as { access_db_path?: unknown } | null)?.access_db_path;
    if (typeof path === "string") return resolve(Deno.cwd(), path);
  }
  return join(findDepot(options), STATE_DIR, "access");
}
