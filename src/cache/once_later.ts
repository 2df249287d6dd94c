/**
 * Something that is done once for many reasons, a while after the first of them.
 *
 * @module
 */

/** See the module. */
export class OnceLater {
  readonly #waitMs: number;
  readonly #work: () => void;
  #timer: number | null = null;

  constructor(waitMs: number, work: () => void) {
    this.#waitMs = waitMs;
    this.#work = work;
  }

  /** There is a reason. */
  ask(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.#work();
    }, this.#waitMs);
  }

  /** Nothing is done for the reasons so far. */
  cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }
}
