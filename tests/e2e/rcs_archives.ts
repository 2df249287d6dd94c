/**
 * Makes an archive tree as p4d's librarian has it: real RCS archives `file,v` with several revisions,
 * made with `ci` and `co`, and directories `file,d` of compressed revisions.
 *
 * @module
 */

import { run } from "./daemon_process.ts";

/** Text files (RCS archives) and binary files (compressed revisions). */
const TEXT_FILES = 150, BINARY_FILES = 40;

/** Revisions of each. */
export const REVISIONS = 3;

const MAKE = String.raw`
set -e
cd "$1"
texts=$2 binaries=$3 revisions=$4
archive() { # file, number
  r=1
  while [ $r -le $revisions ]; do
    seq $r $(($2 + 20 * r)) > "$1"
    echo "revision $r of $2" >> "$1"
    cp "$1" "$1.rev$r"
    ci -q -mx -t-x -u "$1" "$1,v" </dev/null
    [ $r -eq $revisions ] || { chmod u+w "$1"; rcs -q -l "$1" "$1,v"; }
    r=$((r + 1))
  done
  rm -f "$1"
}
i=0
while [ $i -lt $texts ]; do
  dir=main/$((i % 10)); mkdir -p $dir
  archive "$dir/file $i.c" $i
  i=$((i + 1))
done
mkdir -p 'odd/a+b=c&d?'
long=$(printf '%0180d' 7)
for f in '50%20 off,#1' '-rf' 'größe ☃.txt' "it's \"quoted\"" 'a+b=c&d?/{x}[y]~' "$long"; do
  archive "odd/$f" 7
done
i=0
while [ $i -lt $binaries ]; do
  dir=art/$((i % 5))/tex$i.psd,d; mkdir -p $dir
  r=1
  while [ $r -le $revisions ]; do
    head -c $((1000 * (i + 1))) /dev/urandom | gzip -1 > $dir/1.$r.gz
    r=$((r + 1))
  done
  i=$((i + 1))
done
`;

/** Fills a staging directory; beside each archive `f,v` lie its revisions as `f.rev1` … */
export async function makeArchives(dir: string): Promise<void> {
  const numbers = [TEXT_FILES, BINARY_FILES, REVISIONS].map(String);
  const made = await run("sh", ["-c", MAKE, "sh", dir, ...numbers]);
  if (made.code !== 0) throw new Error(`Cannot make archives: ${made.stderr}`);
}

/** Names of the archive files in a staging directory, without the plain revisions beside them. */
export function isArchive(name: string): boolean {
  return name.endsWith(",v") || name.includes(",d/");
}

let sequence = 0;

/** Puts a file into the depot as p4d does: under a temporary name, then renamed when whole. */
export function submit(depot: string, name: string, bytes: Uint8Array, mode = 0o444): void {
  const slash = name.lastIndexOf("/");
  const dir = `${depot}/${name.slice(0, slash)}`;
  Deno.mkdirSync(dir, { recursive: true });
  const temporary = `${dir}/tmp.${Deno.pid}.7.${sequence++}`;
  Deno.writeFileSync(temporary, bytes, { mode });
  Deno.renameSync(temporary, `${depot}/${name}`);
}
