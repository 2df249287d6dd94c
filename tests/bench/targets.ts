/**
 * What the figures are to reach on two cores with a fast server on loopback, all safety on.
 *
 * @module
 */

/** A figure's target. */
export interface Target {
  readonly value: number;
  /** Whether more is better. */
  readonly more: boolean;
}

const atLeast = (value: number): Target => ({ value, more: true });
const atMost = (value: number): Target => ({ value, more: false });

/** By the figure's name in the benchmarks. */
export const TARGETS: Readonly<Record<string, Target>> = {
  "4 KiB up, files/s": atLeast(6000),
  "4 KiB up, CPU µs each": atMost(200),
  "writer slowed, ×": atMost(1.1),
  "evicted, files/s": atLeast(20_000),
  "4 KiB restore, p50 µs": atMost(400),
  "4 KiB restore, p99 µs": atMost(2000),
  "restores by 16, files/s": atLeast(4000),
  "restores by 16, p99 µs": atMost(15_000),
  "1 MiB up, MB/s": atLeast(600),
  "1 MiB up, CPU s/GiB": atMost(4),
  "64 MiB down, MB/s": atLeast(1200),
  "2 GiB up, MB/s": atLeast(600),
  "2 GiB up, peak MiB": atMost(250),
  "2 GiB down, MB/s": atLeast(1000),
  "2 GiB down, peak MiB": atMost(250),
  "200000 found by the scan, s": atMost(0.7),
  "start until it answers, s": atMost(0.3),
  "200000 found, up, files/s": atLeast(6000),
  "idle with 200000, % CPU": atMost(0.2),
  "idle with 200000, MiB": atMost(120),
  "miss among restores, p99 ms": atMost(20),
  "beside 100 GiB, ×": atMost(3),
  "4 KiB up at 50 ms, files/s": atLeast(3000),
  "restores by 64 at 50 ms, files/s": atLeast(1000),
  "shim: warm open + close, adds ns": atMost(22),
  "shim: repeated miss, adds ns": atMost(80),
  "shim: first miss, p50 µs": atMost(100),
  "shim: first miss, p99 µs": atMost(170),
  "shim: exec, adds µs": atMost(60),
  "start with 10000000 tracked, s": atMost(0.5),
  "memory with 10000000 tracked, MiB": atMost(150),
};

/** How far the target is reached: 1 or more is there. */
export function reached(value: number, { value: target, more }: Target): number {
  if (more) return value / target;
  return value === 0 ? Infinity : target / value;
}
