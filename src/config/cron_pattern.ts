/**
 * Times as cron(5) writes them: five fields, local time.
 *
 * @module
 */

import { CronPattern } from "croner";

/** Whether the text is such a pattern. Seconds, years and names such as `@daily` are none. */
export function isCronPattern(text: string): boolean {
  if (text.trim().split(/\s+/).length !== 5) return false;
  try {
    new CronPattern(text);
    return true;
  } catch {
    return false;
  }
}
