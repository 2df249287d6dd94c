/**
 * Progress of long work, on standard error: a bar for people, nothing where nobody looks.
 *
 * @module
 */

import { Presets, SingleBar } from "cli-progress";

/** A bar that is under way. */
export interface Progress {
  /** @param total Null: as before. @param note What is being done, beside the bar. */
  update(done: number, total: number | null, note: string): void;
  stop(): void;
}

/**
 * Shows a bar with rate and remaining time while standard error is a terminal.
 * @param unit What is counted: `files`.
 */
export function startProgress(unit: string, total: number): Progress {
  if (!Deno.stderr.isTerminal()) return { update: () => {}, stop: () => {} };
  const bar = new SingleBar({
    format: `{bar} {percentage}% | {value}/{total} ${unit} | {duration_formatted}, ` +
      "about {eta_formatted} left | {note}",
    hideCursor: true,
  }, Presets.shades_classic);
  bar.start(total, 0, { note: "" });
  return {
    update: (done, newTotal, note) => {
      if (newTotal !== null) bar.setTotal(newTotal);
      bar.update(done, { note });
    },
    stop: () => bar.stop(),
  };
}
