/**
 * Who reads from this daemon, directly or through others: so that peers which read from one another in a
 * circle are told so, instead of waiting for each other.
 *
 * Every request to a peer names its readers: the installation that asks, and all that have read from it of
 * late. Who finds itself among them would in the end ask itself, and refuses. A refused one is not noted:
 * of a circle one connection is cut, the others go on.
 *
 * @module
 */

/** A reader that did not ask for so long is forgotten, ms. */
const MEMORY_MS = 600_000;

/** Readers that are remembered; more than there are replicas of one depot. */
const MAX_READERS = 64;

/** See the module. */
export class PeerReaders {
  readonly #own: string;
  readonly #nowMs: () => number;
  /** When each asked last, ms. */
  readonly #seen = new Map<string, number>();

  /**
   * @param own Id of this installation (`holder.ts`).
   * @param nowMs A clock that never goes back.
   */
  constructor(own: string, nowMs: () => number) {
    this.#own = own;
    this.#nowMs = nowMs;
  }

  /** What a request to a peer says. */
  get text(): string {
    const oldest = this.#nowMs() - MEMORY_MS;
    for (const [id, seenMs] of this.#seen) if (seenMs < oldest) this.#seen.delete(id);
    return [this.#own, ...this.#seen.keys()].join(",");
  }

  /** Notes who asks, by what the request says; false when that is this daemon in the end. */
  admits(text: string | null): boolean {
    const ids = (text ?? "").split(",").filter((id) => /^[\w-]{1,64}$/.test(id));
    if (ids.includes(this.#own)) return false;
    for (const id of ids) {
      if (this.#seen.has(id) || this.#seen.size < MAX_READERS) this.#seen.set(id, this.#nowMs());
    }
    return true;
  }
}
