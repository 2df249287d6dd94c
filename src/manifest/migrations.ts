/**
 * The manifest's schema, older and newer: what a start does when another version of the program wrote
 * the state last.
 *
 * `meta` "counters" says which schema the last writer had (`schema`) and the oldest one whose programs
 * may open the state (`readableFrom`). A state of an older schema is brought forward, one migration
 * after another. A state of a newer one is opened where that says so, and is marked as this program's
 * from then on, so that the newer program migrates again what we did not keep up; otherwise it is
 * refused, and nothing is changed.
 *
 * A crash may come at any point. Before a migration changes what older programs could not read, it is
 * recorded that they may not; its version is recorded only after its last change. So a migration that
 * was cut off begins again, over what it left.
 *
 * @module
 */

import { KvBatch } from "../../ffi/kv_batch.ts";
import { EnvironmentError } from "../errors.ts";
import type { ManifestStore } from "./manifest.ts";
import { COUNTERS_KEY, READABLE_FROM, SCHEMA } from "./schema.ts";

/** The step from one schema to the next. */
export interface Migration {
  readonly to: number;
  /** Oldest schema whose programs can work on the outcome; what they write, it can run over again. */
  readonly readableFrom: number;
  /**
   * Makes the changes, in batches of a bounded size that are committed one by one. Runs over its own
   * outcome, whole or in part, without harm: after a crash, and after an older program wrote.
   */
  changes(store: MigrationStore): AsyncIterable<KvBatch>;
}

/** What a migration reads. */
export type MigrationStore = Pick<ManifestStore, "database" | "get" | "scan">;

/** Every step, in order. The first schema needs none. */
export const MIGRATIONS: readonly Migration[] = [];

/** A state from before this was recorded, or made by the C++ implementation. */
const FIRST_SCHEMA = 1;

/** What {@link settleSchema} did. */
export interface Settled {
  readonly from: number;
  readonly to: number;
}

interface Saved {
  readonly schema?: number;
  readonly readableFrom?: number;
  readonly txn?: string;
}

/**
 * Checks the schema, and brings an older one forward.
 * @param dir Names the environment in errors.
 * @returns Null where the state has this program's schema.
 * @throws EnvironmentError when the state is too new for this program; nothing is changed then.
 */
export async function settleSchema(
  store: Pick<ManifestStore, "database" | "get" | "scan" | "info" | "apply">,
  dir: string,
  migrations: readonly Migration[] = MIGRATIONS,
): Promise<Settled | null> {
  const meta = store.database("meta");
  const known = migrations.at(-1)?.to ?? FIRST_SCHEMA;
  let saved = readSaved(store.get(meta, COUNTERS_KEY));
  const isOurs = saved.txn === String(store.info(meta).lastTxn);
  const { readableFrom = FIRST_SCHEMA, schema: from = FIRST_SCHEMA } = saved;
  if (readableFrom > known) {
    throw new EnvironmentError(
      `Cannot open the state in ${dir}: a newer p4-cache wrote it (schema ${from}, readable from ` +
        `${readableFrom} on; this program has ${known}); install the newer one again, nothing was ` +
        "changed",
    );
  }
  // What the C++ implementation wrote since, no migration has seen.
  const begin = isOurs ? from : FIRST_SCHEMA;
  if (begin === known) return null;
  const save = async (batch: KvBatch, change: Saved) => {
    // Rows that were counted stay counted.
    const txn = isOurs ? { txn: String(store.info(meta).lastTxn + 1n) } : {};
    saved = { ...saved, ...change, ...txn };
    batch.put(meta, COUNTERS_KEY, new TextEncoder().encode(JSON.stringify(saved)));
    await store.apply(batch.bytes());
  };
  for (const migration of migrations.filter(({ to }) => to > begin)) {
    const oldest = Math.max(saved.readableFrom ?? FIRST_SCHEMA, migration.readableFrom);
    await save(new KvBatch(), { readableFrom: oldest });
    for await (const batch of migration.changes(store)) await save(batch, {});
    await save(new KvBatch(), { schema: migration.to });
  }
  return { from, to: known };
}

/** Whether the list leads from the first schema to the one that is written; a test asks. */
export function isComplete(migrations: readonly Migration[] = MIGRATIONS): boolean {
  const steps = migrations.map(({ to }) => to);
  const last = migrations.at(-1) ?? { to: FIRST_SCHEMA, readableFrom: FIRST_SCHEMA };
  return steps.every((to, i) => to === FIRST_SCHEMA + 1 + i) && last.to === SCHEMA &&
    Math.max(FIRST_SCHEMA, ...migrations.map((each) => each.readableFrom)) === READABLE_FROM;
}

/** Nothing where it cannot be read: then rows are recounted, too (`manifest.ts`). */
function readSaved(bytes: Uint8Array | null): Saved {
  if (bytes === null) return {};
  try {
    const saved: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof saved === "object" && saved !== null ? saved : {};
  } catch {
    return {};
  }
}
