/**
 * The demo's voice: numbered acts, and lines with the time since its start.
 *
 * @module
 */

/** Columns for the name of a file. */
const NAME_WIDTH = 34;

/** Bytes for people. */
export function size(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1e6 ? `${(bytes / 1e3).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** Prints as things happen. */
export class Story {
  readonly #begun = performance.now();
  #acts = 0;

  /** A headline. */
  act(title: string): void {
    console.log(`\n${++this.#acts}. ${title}`);
  }

  /** A line with the time since the start. */
  say(text: string): void {
    const seconds = ((performance.now() - this.#begun) / 1000).toFixed(2);
    console.log(`  ${seconds.padStart(6)} s  ${text}`);
  }

  /** What happened to one file. */
  file(name: string, what: string): void {
    this.say(`${name.padEnd(NAME_WIDTH)} ${what}`);
  }

  /** Time since a moment of `performance.now()`. */
  since(begun: number): string {
    const ms = performance.now() - begun;
    return ms < 1000 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(2)} s`;
  }

  /** The last line. */
  end(): void {
    console.log("");
    this.say("done; the depot and the storage are removed");
  }
}
