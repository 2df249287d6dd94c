/**
 * What a daemon holds of files on their way, over all its budgets, and a limit from outside that is
 * divided among them as their own sizes are.
 *
 * @module
 */

import type { PartBudget } from "./part_budget.ts";

/** See the module. */
export class TransferMemory {
  readonly #budgets: () => readonly PartBudget[];

  /** @param budgets As they are now: a backend that is replaced brings another one. */
  constructor(budgets: () => readonly PartBudget[]) {
    this.#budgets = budgets;
  }

  get usedBytes(): number {
    return this.#budgets().reduce((sum, { usedBytes }) => sum + usedBytes, 0);
  }

  get isWaiting(): boolean {
    return this.#budgets().some(({ isWaiting }) => isWaiting);
  }

  /**
   * Allows so many bytes in all; null: what each allows by itself, which is never exceeded. A part
   * larger than what its budget is left goes alone, so that work never stands still.
   */
  limit(bytes: number | null): void {
    const budgets = this.#budgets();
    const full = budgets.reduce((sum, { fullBytes }) => sum + fullBytes, 0);
    const part = bytes === null || full === 0 ? 1 : Math.min(1, bytes / full);
    for (const budget of budgets) budget.resize(Math.max(1, Math.floor(budget.fullBytes * part)));
  }
}
