/**
 * Accesses of a made-up depot, the same at every run: what people read by day, and what walks over all
 * of it by night.
 *
 * @module
 */

/** One access. */
export interface Access {
  readonly file: number;
  readonly seconds: number;
  /** Read by people, who wait; not by a nightly job. */
  readonly byPeople: boolean;
}

export const FILES = 20_000;
const DAYS = 6;
const READS_A_DAY = 40_000;
const DAY = 86_400;

/** Same numbers at every run (mulberry32). */
function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Few files get most of the reads: rank 0 … count-1, about as Zipf has it. */
function skewed(random: () => number, count: number): number {
  return Math.min(count - 1, Math.floor(count ** random()) - 1);
}

type Choose = (random: () => number, day: number, share: number) => number;

/** People read for 16 hours of each day; then, if asked for, everything is read once. */
function* days(choose: Choose, nightly: boolean, weekend = false): Generator<Access> {
  const random = randomNumbers(7);
  for (let day = 0; day < DAYS; day++) {
    const isFree = weekend && (day === 2 || day === 3);
    for (let i = 0; i < READS_A_DAY && !isFree; i++) {
      const share = i / READS_A_DAY;
      const seconds = Math.floor((day + share * 2 / 3) * DAY);
      yield { file: choose(random, day, share), seconds, byPeople: true };
    }
    for (let file = 0; nightly && file < FILES; file++) {
      const seconds = Math.floor((day + 2 / 3 + file / FILES / 3) * DAY);
      yield { file, seconds, byPeople: false };
    }
  }
}

/** Nine of ten reads go to a tenth of the files, evenly; the rest anywhere. */
const hotSet: Choose = (random) =>
  Math.floor(random() < 0.9 ? random() * FILES / 10 : random() * FILES);

const zipf: Choose = (random) => (skewed(random, FILES) * 7919) % FILES;

/** The hot tenth is another one each day. */
const drifting: Choose = (random, day) => (hotSet(random, day, 0) + day * FILES / 10) % FILES;

/** New files are written all the time, read for a while by many, and then no more. */
const fresh: Choose = (random, day, share) => {
  const newest = (day + share) / DAYS * FILES;
  return Math.max(0, Math.floor(newest - skewed(random, FILES / 10)));
};

/** Name → accesses. Times begin long after the epoch, as real ones do. */
export const TRACES: Readonly<Record<string, () => Generator<Access>>> = {
  "hot set, nightly verify": () => days(hotSet, true),
  "hot set, verify, a free weekend": () => days(hotSet, true, true),
  "hot set": () => days(hotSet, false),
  "zipf, nightly verify": () => days(zipf, true),
  "zipf": () => days(zipf, false),
  "drifting hot set, nightly verify": () => days(drifting, true),
  "drifting hot set": () => days(drifting, false),
  "fresh files, nightly verify": () => days(fresh, true),
  "fresh files": () => days(fresh, false),
};

/** Offset of the traces' times, seconds since the epoch. */
export const BEGIN_SECONDS = 1_750_000_000;
