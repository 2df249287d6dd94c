/**
 * Puts the simulated clock, timers and random numbers in the place of the runtime's, for the program
 * and the libraries it uses alike.
 *
 * @module
 */

import type { Random } from "../random.ts";
import type { Scheduler } from "./scheduler.ts";

/** From now on this process lives in the simulation's time. */
export function installVirtualTime(
  scheduler: Scheduler,
  random: Random,
  isDaemonAlive: () => boolean,
): void {
  const timer = (repeat: boolean) => (call: () => void, ms = 0) =>
    isDaemonAlive() ? scheduler.setTimer(call, ms, repeat) : 0;
  const clear = (id?: number) => {
    if (id !== undefined) scheduler.clearTimer(id);
  };
  Object.assign(globalThis, {
    setTimeout: timer(false),
    setInterval: timer(true),
    clearTimeout: clear,
    clearInterval: clear,
  });
  Date.now = () => Math.floor(scheduler.nowMs);
  performance.now = () => scheduler.nowMs;
  Math.random = () => random.fraction();
}
