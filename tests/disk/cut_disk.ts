/**
 * A disk whose power can be cut: an ext4 or XFS on a loop device, whose image lies on an XFS. A reflink of
 * the image, made in one instant, is what has reached the disk by then: everything that is only in the page
 * cache, or in the journal's running transaction, is not in it.
 *
 * @module
 */

import { run } from "../e2e/daemon_process.ts";
import { SmallDisk } from "./small_disk.ts";

/** What mkfs.xfs makes at least; most of it is a hole. */
const SIZE_BYTES = 300 * 1024 ** 2;

const OPTIONS: Readonly<Record<string, string[]>> = { ext4: ["-m", "0"], xfs: [] };

/** The image before may still be mounted, in the namespace of a process that is about to end. */
const MOUNT_OPTIONS: Readonly<Record<string, string>> = { ext4: "loop", xfs: "loop,nouuid" };

/** See the module. */
export class CutDisk {
  readonly #host: SmallDisk;
  readonly #type: string;
  #image: string;
  /** Where it is mounted. */
  readonly path: string;
  /** What {@link through} says of the machine. */
  #boot = 1;
  #bootSeconds = 0;
  #cuts = 0;

  private constructor(host: SmallDisk, type: string) {
    this.#host = host;
    this.#type = type;
    this.#image = `${host.path}/image0`;
    this.path = `${host.path}/mount`;
  }

  /** @param type ext4 or xfs. */
  static async make(type = "ext4"): Promise<CutDisk> {
    const disk = new CutDisk(await SmallDisk.make("xfs", "-m", "reflink=1"), type);
    Deno.writeFileSync(disk.#image, new Uint8Array(0));
    Deno.truncateSync(disk.#image, SIZE_BYTES);
    Deno.mkdirSync(disk.path);
    await must(`mkfs.${type}`, "-q", ...OPTIONS[type]!, disk.#image);
    await disk.#mount();
    return disk;
  }

  /** The power goes. Whoever has files open must be ended before {@link comeBack}. */
  async cut(): Promise<void> {
    await must("cp", "--reflink=always", this.#image, this.#nextImage());
  }

  /** The machine starts again: the journal is replayed. */
  async comeBack(): Promise<void> {
    await must("umount", this.path);
    Deno.removeSync(this.#image);
    this.#cuts++;
    this.#image = `${this.#host.path}/image${this.#cuts}`;
    await this.#mount();
    this.#boot++;
    this.#bootSeconds = Math.ceil(Date.now() / 1000);
  }

  async #mount(): Promise<void> {
    await must("mount", "-o", MOUNT_OPTIONS[this.#type]!, this.#image, this.path);
  }

  #nextImage(): string {
    return `${this.#host.path}/image${this.#cuts + 1}`;
  }

  /** A program, with arguments, that runs another one as if this were the machine's present boot. */
  through(): string[] {
    const id = `${this.#host.path}/boot_id`, stat = `${this.#host.path}/stat`;
    Deno.writeTextFileSync(id, `boot-${this.#boot}\n`);
    const real = Deno.readTextFileSync("/proc/stat");
    Deno.writeTextFileSync(stat, real.replace(/^btime .*$/m, `btime ${this.#bootSeconds}`));
    const script = `mount --bind ${id} /proc/sys/kernel/random/boot_id && ` +
      `mount --bind ${stat} /proc/stat && exec "$@"`;
    return ["unshare", "--mount", "sh", "-c", script, "sh"];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await must("umount", this.path);
    // A mount namespace that somebody made meanwhile has a copy of the mount, so that the image would stay
    // open on the host. Where the mount point is removed, its mounts end in every namespace.
    Deno.removeSync(this.path);
    await this.#host[Symbol.asyncDispose]();
  }
}

async function must(command: string, ...args: string[]): Promise<void> {
  const { code, stderr } = await run(command, args);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
}
