/**
 * Machines of their own, as far as the network goes: network namespaces, each with one line to this
 * machine (ip-netns(8)).
 *
 * @module
 */

import { hasProgram, run } from "./daemon_process.ts";

/** Addresses for tests of their own (RFC 2544). */
const NET = "198.18";

/** Why there can be none here; null when there can. */
export async function namespacesMissing(): Promise<string | null> {
  if (!hasProgram("ip")) return "no ip(8)";
  if (Deno.uid() !== 0) return "not root";
  const name = `p4c-try-${Deno.pid}`;
  const made = await run("ip", ["netns", "add", name]);
  if (made.code !== 0) return `no network namespaces: ${made.stderr.trim()}`;
  await run("ip", ["netns", "delete", name]);
  return null;
}

/** One machine. */
export class NetworkSpace {
  /** What runs a program there, before its name. */
  readonly through: readonly string[];
  /** This machine's address, as the other one reaches it. */
  readonly host: string;
  readonly #name: string;
  readonly #link: string;

  private constructor(name: string, host: string) {
    this.#name = name;
    this.#link = `${name}-h`;
    this.host = host;
    this.through = ["ip", "netns", "exec", name];
  }

  static async create(): Promise<NetworkSpace> {
    // A link's name has 15 characters at most.
    const id = crypto.getRandomValues(new Uint8Array(3));
    const name = `p4c${Array.from(id, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
    const subnet = `${NET}.${id[0]}`, low = id[1]! & 0xfc;
    const space = new NetworkSpace(name, `${subnet}.${low + 1}`);
    try {
      await ip("netns", "add", name);
      await ip("link", "add", space.#link, "type", "veth", "peer", "name", "eth0", "netns", name);
      await ip("address", "add", `${space.host}/30`, "dev", space.#link);
      await ip("link", "set", space.#link, "up");
      await ip("-n", name, "address", "add", `${subnet}.${low + 2}/30`, "dev", "eth0");
      await ip("-n", name, "link", "set", "eth0", "up");
      return space;
    } catch (error) {
      await space.remove();
      throw error;
    }
  }

  /** Takes the line away. */
  async cut(): Promise<void> {
    await ip("link", "set", this.#link, "down");
  }

  async remove(): Promise<void> {
    // Its end of the line goes with it, and ours with that.
    await run("ip", ["netns", "delete", this.#name]);
  }
}

async function ip(...args: string[]): Promise<void> {
  const { code, stderr } = await run("ip", args);
  if (code !== 0) throw new Error(`ip ${args.join(" ")}: ${stderr}`);
}
