/**
 * Moments as people give them, for what can go back in time.
 *
 * @module
 */

import { ConfigError } from "../errors.ts";
import { momentOf } from "./access_options.ts";

/** Help of `--at`. */
export const AT_HELP = "as of a time such as 2026-01-31T12:00:00Z or 6h ago; needs the bucket's " +
  "versioning";

/** Names of backups are moments too. */
const NAME = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\dZ)$/;

/**
 * A moment: `2026-01-31T12:00:00Z`, the name of a backup, an age such as `6h`, or seconds since 1970.
 * @returns Ms since the epoch.
 * @throws ConfigError naming the option.
 */
export function timeOf(text: string, option: string): number {
  const ms = /^\d{4}-/.test(text) ? Date.parse(text.replace(NAME, "$1:$2:$3")) : NaN;
  if (!Number.isNaN(ms)) return ms;
  try {
    return momentOf(text, option, Date.now() / 1000) * 1000;
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ConfigError(
      `Cannot use ${option} '${text}': allowed is a time such as 2026-01-31T12:00:00Z, an age such ` +
        "as 30d, 6h or 15m, or seconds since 1970",
    );
  }
}
