/**
 * The life of the simulated daemon process: kill -9 may strike before and after each thing it does to
 * the world. After that nothing it still tries has any effect.
 *
 * @module
 */

import type { Random } from "../random.ts";
import type { Disk } from "./disk.ts";
import type { Scheduler, Steps } from "./scheduler.ts";

/** Thrown into the dead program, so that it runs no further. */
export class Killed extends Error {
  constructor() {
    super("killed");
  }
}

/** See the module. */
export class ProcessLife {
  alive = false;
  /** How often it was killed. */
  deaths = 0;
  /** What it achieved. */
  readonly counts = { stored: 0, evicted: 0, restored: 0 };
  /** Effects until it is killed, on average; 0: never. */
  effectsPerDeath = 0;
  /** Called when it died. */
  onDeath: () => void = () => {};

  constructor(
    readonly random: Random,
    readonly scheduler: Scheduler,
    readonly disk: Disk,
  ) {}

  start(): void {
    this.alive = true;
  }

  kill(): void {
    if (!this.alive) return;
    this.alive = false;
    this.deaths++;
    this.scheduler.note("daemon: KILLED");
    this.scheduler.killDaemon();
    this.disk.endDaemon();
    this.scheduler.touch();
    this.onDeath();
  }

  #perhapsKill(): void {
    if (this.effectsPerDeath > 0 && this.random.oneIn(2 * this.effectsPerDeath)) this.kill();
    if (!this.alive) throw new Killed();
  }

  /** One system call of the program's main thread. */
  call<T>(work: () => T): T {
    this.#perhapsKill();
    const result = work();
    this.#perhapsKill();
    return result;
  }

  /** One call on a thread of its own, step by step; never ends when the program dies first. */
  thread<T>(name: string, steps: Steps<T>): Promise<T> {
    if (!this.alive) return new Promise(() => {});
    return this.scheduler.run("daemon", name, this.#mortal(steps));
  }

  /** Resolves when it is chosen: the smallest delay. */
  turn(name: string): Promise<void> {
    return this.thread(name, oneTurn());
  }

  *#mortal<T>(steps: Steps<T>): Steps<T> {
    for (;;) {
      const next = steps.next();
      if (this.effectsPerDeath > 0 && this.random.oneIn(this.effectsPerDeath)) this.kill();
      // Dead: the scheduler has forgotten this task, whoever waits for it waits for ever.
      if (!this.alive) yield () => false;
      if (next.done) return next.value;
      yield next.value;
    }
  }
}

function* oneTurn(): Steps<void> {
  yield null;
}
