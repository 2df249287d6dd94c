/**
 * Random numbers that a seed determines: every choice of a simulation comes from one of these.
 *
 * @module
 */

/** A generator (sfc32 by Chris Doty-Humphrey: 128 bits of state, passes PractRand). */
export class Random {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  constructor(seed: number) {
    this.#a = seed >>> 0;
    this.#b = Math.floor(seed / 2 ** 32) >>> 0;
    this.#c = 0x9e3779b9;
    for (let i = 0; i < 12; i++) this.bits();
  }

  /** 32 random bits. */
  bits(): number {
    const sum = (this.#a + this.#b + this.#counter++) >>> 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) >>> 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) >>> 0;
    return sum;
  }

  /** Uniform in [0, 1). */
  fraction(): number {
    return this.bits() / 2 ** 32;
  }

  /** Uniform in 0 … `count` - 1. */
  below(count: number): number {
    return Math.floor(this.fraction() * count);
  }

  /** True once in `times`. */
  oneIn(times: number): boolean {
    return this.fraction() * times < 1;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)]!;
  }
}
