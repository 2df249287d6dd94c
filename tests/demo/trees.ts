/**
 * What the demo puts into the depot: a real RCS archive tree, or made-up files where RCS is missing.
 *
 * @module
 */

import { filesBelow, run } from "../e2e/daemon_process.ts";
import { isArchive, makeArchives, REVISIONS } from "../e2e/rcs_archives.ts";

/** One way to read a file, and what it must give. */
export interface Revision {
  readonly argv: readonly string[];
  readonly bytes: Uint8Array;
}

/** Files for a depot. */
export interface Tree {
  /** One line for people: where the files come from. */
  readonly origin: string;
  /** The program that reads them. */
  readonly reader: string;
  /** Depot path → content. */
  readonly files: Map<string, Uint8Array>;
  /** The files that the demo tells of by name. */
  readonly samples: readonly string[];
  /** How each revision in a file of the depot is read. */
  revisions(name: string, depot: string): Revision[];
  /** Adds a revision to an archive in the depot; returns the archive. Null where that takes RCS. */
  readonly checkIn:
    | ((name: string, depot: string, env: Record<string, string>) => Promise<Uint8Array>)
    | null;
}

/** Real archives, made with `ci` in the directory. */
export async function rcsTree(dir: string): Promise<Tree> {
  const staging = `${dir}/staging`, work = `${dir}/work`;
  Deno.mkdirSync(staging);
  Deno.mkdirSync(work);
  await makeArchives(staging);
  const staged = filesBelow(staging);
  const names = [...staged.keys()].filter(isArchive).sort();
  const files = new Map(names.map((name) => [name, staged.get(name)!]));
  const archives = names.filter((name) => name.endsWith(",v"));
  const compressed = names.filter((name) => !name.endsWith(",v"));
  return {
    origin: `${archives.length} RCS archives of ${REVISIONS} revisions, made with ci, ` +
      `and ${compressed.length} compressed binary revisions`,
    reader: "co",
    files,
    samples: [...archives.slice(0, 3), ...compressed.slice(0, 2)],
    revisions: (name, depot) => {
      if (!name.endsWith(",v")) return [whole(name, depot, files)];
      return Array.from({ length: REVISIONS }, (_, i) => ({
        argv: ["co", "-q", `-p1.${i + 1}`, `${depot}/${name}`],
        bytes: staged.get(`${name.slice(0, -2)}.rev${i + 1}`)!,
      }));
    },
    checkIn: async (name, depot, env) => {
      // RCS pairs a working file with its archive by name.
      const file = `${work}/${name.slice(name.lastIndexOf("/") + 1, -2)}`;
      const archive = `${depot}/${name}`;
      await must("co", ["-q", "-l", file, archive], env);
      Deno.writeTextFileSync(file, "one more revision\n");
      await must("ci", ["-q", "-mdemo", file, archive], env);
      return await must("cat", [archive], env);
    },
  };
}

async function must(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
): Promise<Uint8Array> {
  const out = await run(command, args, { env });
  if (out.code !== 0) throw new Error(`${command} ${args.join(" ")}: ${out.stderr}`);
  return out.bytes;
}

/** Made-up files of 1 to 20 kB. */
export function generatedTree(): Tree {
  const files = new Map<string, Uint8Array>();
  for (let i = 0; i < 150; i++) {
    const bytes = crypto.getRandomValues(new Uint8Array(1000 + 127 * i));
    files.set(`main/${i % 10}/file ${i}.c,v`, bytes);
  }
  const names = [...files.keys()];
  return {
    origin:
      `${files.size} made-up files ('ci' is not installed; with Debian's rcs they are real archives)`,
    reader: "cat",
    files,
    samples: names.slice(0, 5),
    revisions: (name, depot) => [whole(name, depot, files)],
    checkIn: null,
  };
}

/** Reads a file as it is. */
function whole(name: string, depot: string, files: Map<string, Uint8Array>): Revision {
  return { argv: ["cat", `${depot}/${name}`], bytes: files.get(name)! };
}
