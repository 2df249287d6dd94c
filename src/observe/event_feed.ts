/**
 * What happened to single files lately: for `p4-cache events`, `top` and the page to look at.
 *
 * A bounded memory of the latest events; whoever follows asks for those after the last one he saw. A
 * follower that is too slow misses some, and is told how many.
 *
 * @module
 */

import { displayPath } from "../depot_path.ts";

/** What can happen to a file. */
export const EVENT_KINDS = [
  "written",
  "gone",
  "uploaded",
  "upload_failed",
  "restored",
  "restore_failed",
  "evicted",
] as const;

/** See {@link EVENT_KINDS}. */
export type EventKind = typeof EVENT_KINDS[number];

/** One event; names are a stable promise. */
export interface FileEvent {
  /** Counts from 1 at the daemon's start. */
  readonly id: number;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly kind: EventKind;
  /** For people: odd bytes as `\xNN`. */
  readonly path: string;
  readonly bytes: number | null;
  readonly seconds: number | null;
  /** Why it failed. */
  readonly why: string | null;
}

/** What an event tells besides its kind and path. */
export interface EventFacts {
  readonly bytes?: number;
  readonly seconds?: number;
  readonly why?: string;
}

interface Kept {
  readonly atMs: number;
  readonly kind: EventKind;
  readonly path: string;
  readonly facts: EventFacts;
}

/** Events that are remembered. */
const KEPT = 2000;

const NO_FACTS: EventFacts = {};

/** See the module's description. */
export class EventFeed {
  /** A ring: the event with number n is at (n - 1) % KEPT. */
  readonly #kept: Kept[] = [];
  #last = 0;
  #waiting: (() => void)[] = [];

  /** Number of the latest event; 0 before the first. */
  get last(): number {
    return this.#last;
  }

  /** Takes an event down; cheap, it is called for every file. */
  note(kind: EventKind, path: string, facts: EventFacts = NO_FACTS): void {
    this.#kept[this.#last % KEPT] = { atMs: Date.now(), kind, path, facts };
    this.#last++;
    if (this.#waiting.length === 0) return;
    for (const wake of this.#waiting.splice(0)) wake();
  }

  /** Events after the one with this number that are still remembered, the oldest first. */
  after(id: number): FileEvent[] {
    const events: FileEvent[] = [];
    for (let n = Math.max(id, this.#last - this.#kept.length) + 1; n <= this.#last; n++) {
      events.push(this.#event(n));
    }
    return events;
  }

  #at(id: number): Kept {
    return this.#kept[(id - 1) % KEPT]!;
  }

  #event(id: number): FileEvent {
    const { atMs, kind, path, facts } = this.#at(id);
    return {
      id,
      time: new Date(atMs).toISOString(),
      kind,
      path: displayPath(path),
      bytes: facts.bytes ?? null,
      seconds: facts.seconds ?? null,
      why: facts.why ?? null,
    };
  }

  /** The slowest of the remembered events of a kind, the slowest first. */
  slowest(kind: EventKind, limit: number): FileEvent[] {
    const ids: number[] = [];
    for (let n = this.#last - this.#kept.length + 1; n <= this.#last; n++) {
      if (this.#at(n).kind === kind) ids.push(n);
    }
    const seconds = (n: number) => this.#at(n).facts.seconds ?? 0;
    ids.sort((a, b) => seconds(b) - seconds(a));
    return ids.slice(0, limit).map((n) => this.#event(n));
  }

  /** Resolves at the next event, or when the signal is aborted. */
  next(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener("abort", wake);
        resolve();
      };
      signal.addEventListener("abort", wake);
      this.#waiting.push(wake);
    });
  }
}
