/**
 * Shares: how much each of several depots may use of what one host has, by what each of them needs.
 *
 * A depot that uses little gets what it uses and some more, so that it is not held up when it begins;
 * the rest is divided among those that are held up. Whoever is idle lends; nothing is saved up.
 *
 * @module
 */

/** What one depot needs of one resource. Units: bytes a second, or bytes. */
export interface Use {
  readonly used: number;
  /** It would use more if it had more. */
  readonly isWaiting: boolean;
}

/** What is shared; null: without limit. */
export interface Shares {
  /** Bytes a second to storage. */
  readonly up: number | null;
  /** Bytes a second from storage. */
  readonly down: number | null;
  /** Bytes of files on their way. */
  readonly memory: number | null;
}

/** The names of {@link Shares}. */
export const RESOURCES = ["up", "down", "memory"] as const;

/** What is not limited. */
export const NO_LIMIT: Shares = { up: null, down: null, memory: null };

/** Room that a depot is left above what it uses. */
const HEADROOM = 1.5;

/** A depot that uses nothing keeps this part of an equal share. */
const IDLE_PART = 0.1;

/** How near to its share a depot is taken to be held up by it. */
const NEARLY_ALL = 0.9;

/** Whether a depot is held up by the share that it has. */
export function isHeldUp({ used, isWaiting }: Use, share: number): boolean {
  return isWaiting || used >= share * NEARLY_ALL;
}

/** The share of each; together they are the total, but for what rounding takes away. */
export function divide(total: number, uses: readonly Use[]): number[] {
  if (uses.length === 0) return [];
  const least = IDLE_PART * total / uses.length;
  const needs = uses.map(({ used, isWaiting }) =>
    isWaiting ? Infinity : Math.max(least, used * HEADROOM)
  );
  const shares = new Array<number>(uses.length).fill(0);
  const order = uses.map((_, i) => i).sort((a, b) => needs[a]! - needs[b]!);
  let rest = total;
  for (const [done, i] of order.entries()) {
    shares[i] = Math.min(needs[i]!, rest / (order.length - done));
    rest -= shares[i]!;
  }
  return shares.map((share) => Math.floor(share + rest / uses.length));
}

/**
 * What may be given now, so that all together never have more than the total: a smaller share at once, a
 * larger one only from what the others have given back.
 * @param held What each may still be using.
 */
export function grants(
  total: number,
  targets: readonly number[],
  held: readonly number[],
): number[] {
  let free = total - held.reduce((sum, each) => sum + each, 0);
  return targets.map((target, i) => {
    if (target <= held[i]!) return target;
    const more = Math.max(0, Math.min(target - held[i]!, free));
    free -= more;
    return held[i]! + more;
  });
}
