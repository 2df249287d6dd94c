/**
 * Small filesystems of the test's own, on loop devices: to be filled, and to fail.
 *
 * @module
 */

import { hasProgram, run } from "../e2e/daemon_process.ts";

/** Filesystems that tests use here; those that cannot be made are left out, with a word. */
export const SMALL_DISKS: readonly string[] = ["ext4", "xfs"].filter((type) => {
  const why = Deno.uid() !== 0
    ? "it needs root"
    : !hasProgram(`mkfs.${type}`)
    ? `it needs mkfs.${type}`
    : null;
  if (why !== null) console.log(`tests on a small ${type} are skipped: ${why}`);
  return why === null;
});

const MIB = 1024 ** 2;

/** What mkfs.xfs makes at least. */
const SIZES: Readonly<Record<string, number>> = { ext4: 48 * MIB, xfs: 320 * MIB };

/** Without room that only root may use. */
const OPTIONS: Readonly<Record<string, string[]>> = { ext4: ["-m", "0"], xfs: [] };

/** A mounted filesystem, gone at the end of the scope. */
export class SmallDisk {
  readonly #image: string;
  /** Where it is mounted. */
  readonly path: string;
  #ballast = 0;

  private constructor(image: string, path: string) {
    this.#image = image;
    this.path = path;
  }

  /** @param options More arguments for mkfs. */
  static async make(type: string, ...options: string[]): Promise<SmallDisk> {
    const dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "disk" });
    const disk = new SmallDisk(`${dir}/image`, `${dir}/mount`);
    Deno.writeFileSync(disk.#image, new Uint8Array(0));
    Deno.truncateSync(disk.#image, SIZES[type]!);
    Deno.mkdirSync(disk.path);
    await must(`mkfs.${type}`, "-q", ...OPTIONS[type]!, ...options, disk.#image);
    await must("mount", "-o", "loop", disk.#image, disk.path);
    return disk;
  }

  /** Free bytes, for whoever is not root too. */
  async freeBytes(): Promise<number> {
    const { stdout } = await run("stat", ["-f", "-c", "%a %S", this.path]);
    const [blocks, size] = stdout.split(" ").map(Number);
    return blocks! * size!;
  }

  /** Fills it with files that are not the depot's, up to `leaveBytes`; {@link empty} removes them. */
  async fill(leaveBytes: number): Promise<void> {
    for (let step = 64 * MIB; step >= 4096;) {
      const room = Math.min(step, await this.freeBytes() - leaveBytes);
      if (room < 4096) return;
      const name = `${this.path}/ballast${this.#ballast++}`;
      const { code } = await run("fallocate", ["-l", String(room), name]);
      if (code !== 0) step /= 2; // what it got stays in use
    }
  }

  /** Takes every inode that is left; {@link empty} gives them back. */
  fillInodes(): void {
    for (;;) {
      try {
        Deno.writeFileSync(`${this.path}/ballast${this.#ballast++}`, new Uint8Array(0));
      } catch (error) {
        if ((error as { code?: string }).code !== "ENOSPC") throw error;
        return;
      }
    }
  }

  /** Removes what {@link fill} and {@link fillInodes} made. */
  empty(): void {
    for (const { name } of [...Deno.readDirSync(this.path)]) {
      if (name.startsWith("ballast")) Deno.removeSync(`${this.path}/${name}`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await must("umount", this.path);
    Deno.removeSync(this.#image.slice(0, -"/image".length), { recursive: true });
  }
}

async function must(command: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await run(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}
