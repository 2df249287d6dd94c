/**
 * One scheduler decides what happens next: which thread or program takes its next system call, which
 * answer arrives, which timer fires. Everything that waits in the simulated world waits here, so a seed
 * determines the whole run.
 *
 * A task is a generator: between two yields it does one thing that is atomic in the real world (a
 * system call, a request that takes effect). It may yield a condition to wait for.
 *
 * @module
 */

import type { Random } from "../random.ts";

/** What a task waits for: null to go on whenever it is chosen, else a condition. */
export type Wait = (() => boolean) | null;
export type Steps<T> = Generator<Wait, T, void>;

interface Task {
  readonly name: string;
  readonly steps: Steps<unknown>;
  readonly owner: Owner;
  readonly done: (value: unknown) => void;
  readonly failed: (error: unknown) => void;
  wait: Wait;
}

interface Timer {
  readonly id: number;
  readonly dueMs: number;
  readonly everyMs: number | null;
  readonly call: () => void;
}

/** Who a task belongs to: the daemon's threads end with the daemon. */
export type Owner = "daemon" | "storage" | "world";

/** The clock moves on by this much at most with each step, ms. */
const STEP_MS = 0.2;

/** One in so many steps the clock jumps to the next timer though others could go on; far ones less. */
const JUMP_IN = 6, FAR_JUMP_IN = 60, FAR_MS = 20;

/** See the module. */
export class Scheduler {
  readonly #random: Random;
  readonly #drain = new Drain();
  #tasks: Task[] = [];
  #timers: Timer[] = [];
  #nextTimer = 1;
  #touched = false;
  /** Time of the simulated machine, ms since the epoch. */
  nowMs = 1_700_000_000_000;
  /** Times by which a system call in flight is over: the clock does not pass them before it is. */
  readonly deadlines = new Set<{ readonly atMs: number; readonly finish: () => void }>();
  /** What happened last, newest last. */
  readonly trace: string[] = [];
  traceLength = 200;

  constructor(random: Random) {
    this.#random = random;
  }

  note(line: string): void {
    this.trace.push(`${(this.nowMs % 1e7).toFixed(2)} ${line}`);
    if (this.trace.length > 2 * this.traceLength) this.trace.splice(0, this.traceLength);
  }

  /** The program ran, or may run, because of what just happened: its promises go on. */
  touch(): void {
    this.#touched = true;
  }

  /** Runs the steps of a task as they are chosen; resolves with its result. */
  run<T>(owner: Owner, name: string, steps: Steps<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#tasks.push({
        name,
        steps,
        owner,
        done: resolve as (value: unknown) => void,
        failed: reject,
        wait: null,
      });
    });
  }

  setTimer(call: () => void, ms: number, repeat: boolean): number {
    const id = this.#nextTimer++;
    const delayMs = Math.max(1, Number.isFinite(ms) ? ms : 1);
    const dueMs = this.nowMs + delayMs;
    this.#timers.push({ id, dueMs, everyMs: repeat ? delayMs : null, call });
    this.#timers.sort((a, b) => a.dueMs - b.dueMs);
    return id;
  }

  clearTimer(id: number): void {
    this.#timers = this.#timers.filter((timer) => timer.id !== id);
  }

  /** Ends every thread and timer of the daemon: nothing of it ever goes on. */
  killDaemon(): void {
    this.#tasks = this.#tasks.filter((task) => task.owner !== "daemon");
    this.#timers = [];
  }

  /** Whether a task of the owner exists. */
  isBusy(owner: Owner): boolean {
    return this.#tasks.some((task) => task.owner === owner);
  }

  /** One thing happens; then the program runs as far as it can. */
  async step(): Promise<void> {
    this.#pass(this.#random.fraction() * STEP_MS);
    const ready = this.#tasks.filter((task) => task.wait === null || task.wait());
    if (ready.length === 0 || this.#random.oneIn(this.#timerOdds(ready.length))) {
      this.#fireTimer();
    } else {
      this.#advance(this.#random.pick(ready));
    }
    await this.settle();
  }

  /** The program runs as far as it can without anything happening. */
  async settle(): Promise<void> {
    while (this.#touched) {
      this.#touched = false;
      await this.#drain.done();
    }
  }

  /** The next timer fires one in so many times. */
  #timerOdds(others: number): number {
    const waitMs = (this.#timers[0]?.dueMs ?? Infinity) - this.nowMs;
    return waitMs <= 0 ? others + 1 : waitMs <= FAR_MS ? JUMP_IN : FAR_JUMP_IN;
  }

  #pass(ms: number): void {
    for (const deadline of [...this.deadlines]) {
      if (deadline.atMs < this.nowMs + ms) deadline.finish();
    }
    this.nowMs += ms;
  }

  #fireTimer(): void {
    const timer = this.#timers[0];
    if (timer === undefined) return;
    this.#pass(Math.max(0, timer.dueMs - this.nowMs));
    this.#timers.shift();
    if (timer.everyMs !== null) {
      this.#timers.push({ ...timer, dueMs: this.nowMs + timer.everyMs });
      this.#timers.sort((a, b) => a.dueMs - b.dueMs);
    }
    this.#touched = true;
    timer.call();
  }

  #advance(task: Task): void {
    let next: IteratorResult<Wait, unknown>;
    try {
      next = task.steps.next();
    } catch (error) {
      this.#finish(task);
      task.failed(error);
      return;
    }
    if (next.done) {
      this.#finish(task);
      task.done(next.value);
    } else {
      task.wait = next.value;
    }
  }

  #finish(task: Task): void {
    this.#tasks = this.#tasks.filter((other) => other !== task);
    this.#touched = true;
  }

  close(): void {
    this.#drain.close();
  }
}

/** Waits until no promise of the program can go on: messages arrive after all of them. */
class Drain {
  readonly #channel = new MessageChannel();
  #arrived = () => {};

  constructor() {
    this.#channel.port1.onmessage = () => this.#arrived();
  }

  done(): Promise<void> {
    return new Promise((resolve) => {
      this.#arrived = resolve;
      this.#channel.port2.postMessage(0);
    });
  }

  close(): void {
    this.#channel.port1.close();
  }
}
