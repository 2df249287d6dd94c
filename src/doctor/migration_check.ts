/**
 * Check of a secondary: whether it is still needed.
 *
 * @module
 */

import { readMigration } from "../admin/migration_record.ts";
import { STATE_DIR } from "../depot_path.ts";
import type { Config } from "../config/config.ts";
import { counted } from "../counted.ts";
import { type Finding, ok, skip } from "./finding.ts";

/** Tells from the latest migration; `migrate --dry-run` compares anew. */
export function checkMigration({ depotPath, primary, secondary }: Config): Finding[] {
  if (secondary === null) return [];
  const name = "migration";
  const record = readMigration(`${depotPath}/${STATE_DIR}`, primary, secondary);
  if (record === null) {
    return [skip(name, "the secondary is needed: 'p4-cache migrate' copies what only it has")];
  }
  return [ok(
    name,
    `the primary has all of the ${
      counted(record.objects, "object")
    } of the secondary since ${record.completedAt}: ` +
      "take secondary out of the configuration; 'p4-cache migrate --dry-run' compares once more",
  )];
}
