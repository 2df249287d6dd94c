/**
 * How long ago files were opened, as counts and as a drawing for the terminal.
 *
 * @module
 */

const HOUR = 3600, DAY = 24 * HOUR;

/** Upper ends of the ages, seconds, and what they are called. */
const AGES: readonly (readonly [number, string])[] = [
  [HOUR, "1 hour"],
  [6 * HOUR, "6 hours"],
  [DAY, "1 day"],
  [3 * DAY, "3 days"],
  [7 * DAY, "1 week"],
  [14 * DAY, "2 weeks"],
  [30 * DAY, "30 days"],
  [90 * DAY, "90 days"],
  [180 * DAY, "180 days"],
  [365 * DAY, "1 year"],
];

/** One bar: entries younger than `belowSeconds` and not in a bar before; null: all the rest. */
export interface AgeBar {
  readonly belowSeconds: number | null;
  readonly name: string;
  readonly entries: number;
}

/** Counts entries by their age. */
export class AgeHistogram {
  readonly #nowSeconds: number;
  readonly #counts = new Array<number>(AGES.length + 1).fill(0);

  constructor(nowSeconds: number) {
    this.#nowSeconds = nowSeconds;
  }

  add(seconds: number): void {
    const age = this.#nowSeconds - seconds;
    let bar = 0;
    while (bar < AGES.length && age >= AGES[bar]![0]) bar++;
    this.#counts[bar]!++;
  }

  /** Youngest first. */
  bars(): AgeBar[] {
    return this.#counts.map((entries, i) => ({
      belowSeconds: AGES[i]?.[0] ?? null,
      name: i < AGES.length ? `< ${AGES[i]![1]}` : "older",
      entries,
    }));
  }
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** Draws the bars in lines of at most `columns` characters. */
export function drawBars(bars: readonly AgeBar[], columns: number): string {
  const total = bars.reduce((sum, bar) => sum + bar.entries, 0);
  const most = Math.max(1, ...bars.map((bar) => bar.entries));
  const nameWidth = Math.max(...bars.map((bar) => bar.name.length));
  const countWidth = String(most).length;
  const room = Math.max(8, columns - nameWidth - countWidth - 12);
  return bars.map(({ name, entries }) => {
    const eighths = Math.round(entries / most * room * 8);
    const bar = "█".repeat(Math.floor(eighths / 8)) + EIGHTHS[eighths % 8];
    const percent = total === 0 ? 0 : entries / total * 100;
    return `${name.padEnd(nameWidth)}  ${String(entries).padStart(countWidth)} ` +
      `${percent.toFixed(1).padStart(5)} %  ${bar}`.trimEnd() + "\n";
  }).join("");
}
