/**
 * Progress of long work, on standard error: a bar for people, nothing where nobody looks.
 *
 * @module
 */

import { Format, type Options, type Params, Presets, SingleBar } from "cli-progress";
import { ageText, sizeText } from "../amounts.ts";

/** A bar that is under way. */
export interface Progress {
  /** @param total Null: as before. @param note What is being done, beside the bar. */
  update(done: number, total: number | null, note: string): void;
  stop(): void;
}

/**
 * Shows a bar with rate and remaining time while standard error is a terminal.
 * @param unit What is counted: `files`; `bytes` are shown as sizes.
 * @param total 0: not known; then there is no bar, only how much, how fast and for how long.
 */
export function startProgress(unit: string, total: number): Progress {
  if (!Deno.stderr.isTerminal()) return { update: () => {}, stop: () => {} };
  const startedMs = Date.now();
  const bar = new SingleBar({
    format: (options: Options, params: Params, { note }: { note: string }) =>
      progressLine(unit, options, params, (Date.now() - startedMs) / 1000, note),
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

/** The line on the screen. @param seconds Since the start. */
export function progressLine(
  unit: string,
  options: Options,
  { value, total, progress }: Pick<Params, "value" | "total" | "progress">,
  seconds: number,
  note: string,
): string {
  const amount = (n: number) => unit === "bytes" ? sizeText(n) : String(Math.round(n));
  const perSecond = seconds > 0 ? value / seconds : 0;
  const name = unit === "bytes" ? "" : ` ${unit}`;
  const parts = [
    total > 0 ? `${amount(value)}/${amount(total)}${name}` : `${amount(value)}${name}`,
    `${amount(perSecond)}/s`,
    total > value && perSecond > 0
      ? `${ageText(seconds)}, about ${ageText((total - value) / perSecond)} left`
      : ageText(seconds),
  ];
  if (note !== "") parts.push(note);
  if (total > 0) {
    parts.unshift(`${Format.BarFormat(progress, options)} ${Math.floor(100 * progress)}%`);
  }
  return parts.join(" | ");
}
