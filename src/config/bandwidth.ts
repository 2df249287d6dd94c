/**
 * Bandwidth as people write it: a rate, or rates by time of day.
 *
 *     50MB                         always
 *     08:00-18:00=20MB             while people work; no limit else
 *     08:00-18:00=20MB, 200MB      200 MB a second else
 *     22:00-06:00=500MB, 20MB      over midnight
 *
 * Bytes a second, 1 KB at least; KB, MB and GB count in 1024s, as all sizes here do. Times are the machine's local
 * ones; the first entry whose time it is counts.
 *
 * @module
 */

/** One entry: from `fromMinute` of the day on, before `toMinute`, which is less when over midnight. */
interface Entry {
  readonly fromMinute: number;
  readonly toMinute: number;
  readonly bytesPerSecond: number;
}

/** Rates by time of day. */
export interface Bandwidth {
  readonly entries: readonly Entry[];
  /** At all other times; Infinity: no limit. */
  readonly otherwise: number;
}

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

const RATE = /^(\d+(?:\.\d+)?)\s*([KMG]?)B?$/i;
const SPAN = /^(\d\d):(\d\d)\s*-\s*(\d\d):(\d\d)\s*=\s*(.*)$/;

/** Bytes a second; what is less was meant to have a unit, and would stop all transfers. */
const LEAST_RATE = 1024;

/** Reads the text; null when it cannot be read, names no rate, or one of less than 1 KB a second. */
export function parseBandwidth(text: string): Bandwidth | null {
  const entries: Entry[] = [];
  let otherwise: number | null = null;
  for (const part of text.split(",").map((part) => part.trim())) {
    const span = SPAN.exec(part);
    const bytesPerSecond = rateOf(span === null ? part : span[5]!);
    if (bytesPerSecond === null) return null;
    if (span === null) {
      if (otherwise !== null) return null;
      otherwise = bytesPerSecond;
      continue;
    }
    const fromMinute = minuteOf(span[1]!, span[2]!), toMinute = minuteOf(span[3]!, span[4]!);
    if (fromMinute === null || toMinute === null || fromMinute === toMinute) return null;
    entries.push({ fromMinute, toMinute, bytesPerSecond });
  }
  return { entries, otherwise: otherwise ?? Infinity };
}

/** Bytes a second at a minute of the day; Infinity: no limit. */
export function bandwidthAt({ entries, otherwise }: Bandwidth, minute: number): number {
  const now = entries.find(({ fromMinute: from, toMinute: to }) =>
    from < to ? minute >= from && minute < to : minute >= from || minute < to
  );
  return now === undefined ? otherwise : now.bytesPerSecond;
}

function rateOf(text: string): number | null {
  const [, number, unit] = RATE.exec(text) ?? [];
  if (number === undefined) return null;
  const rate = Math.floor(Number(number) * UNITS[unit!.toUpperCase()]!);
  return rate >= LEAST_RATE && Number.isSafeInteger(rate) ? rate : null;
}

function minuteOf(hour: string, minute: string): number | null {
  const at = Number(hour) * 60 + Number(minute);
  return Number(minute) < 60 && at <= 24 * 60 ? at % (24 * 60) : null;
}
