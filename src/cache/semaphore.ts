/**
 * A counting semaphore with first-come, first-served waiters.
 *
 * @module
 */

/** Bounds how many of something happen at once. */
export class Semaphore {
  /** Below 0 while more hold it than a size that was made smaller allows. */
  #free: number;
  #size: number;
  readonly #waiters: (() => void)[] = [];

  /** @param size How many may hold it at once; at least 1. */
  constructor(size: number) {
    this.#size = size;
    this.#free = size;
  }

  /** Holders and waiters. */
  get pending(): number {
    return this.#size - this.#free + this.#waiters.length;
  }

  /** Whether the next one has to wait. */
  get isFull(): boolean {
    return this.#free <= 0;
  }

  /** Lets another number hold it from now on; those who hold it keep it. */
  resize(size: number): void {
    this.#free += size - this.#size;
    this.#size = size;
    while (this.#free > 0 && this.#waiters.length > 0) {
      this.#free--;
      this.#waiters.shift()!();
    }
  }

  /** Resolves when there is room; each acquire needs one {@link release}. */
  acquire(): Promise<void> {
    if (this.#free > 0) {
      this.#free--;
      return Promise.resolve();
    }
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  release(): void {
    const next = this.#free < 0 ? undefined : this.#waiters.shift();
    if (next === undefined) this.#free++;
    else next();
  }

  /** Runs the function while holding the semaphore. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}
