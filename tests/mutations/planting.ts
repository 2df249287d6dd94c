/**
 * Breaks a copy of the project on purpose, by textual edits.
 *
 * @module
 */

const ROOT = new URL("../../", import.meta.url).pathname;

/** What no copy needs, or has as a link. */
const NOT_COPIED = new Set([".git", "build", "node_modules"]);

/** One place to change: `find` stands exactly once in the file. */
export interface Edit {
  readonly file: string;
  readonly find: string;
  readonly replace: string;
}

/** Copies the project without what was built; packages and fetched tools are links to the project's own. */
export function copyProject(dir: string): void {
  Deno.mkdirSync(dir, { recursive: true });
  for (const { name } of Deno.readDirSync(ROOT)) {
    if (!NOT_COPIED.has(name)) copy(`${ROOT}${name}`, `${dir}/${name}`);
  }
  Deno.symlinkSync(`${ROOT}node_modules`, `${dir}/node_modules`);
  Deno.mkdirSync(`${dir}/build`);
  for (const name of ["cache", "tools"]) {
    Deno.symlinkSync(`${ROOT}build/${name}`, `${dir}/build/${name}`);
  }
}

function copy(from: string, to: string): void {
  if (!Deno.statSync(from).isDirectory) return Deno.copyFileSync(from, to);
  Deno.mkdirSync(to);
  for (const { name } of Deno.readDirSync(from)) copy(`${from}/${name}`, `${to}/${name}`);
}

/** Of edits those that no longer fit the project, in words. */
export function misfits(name: string, edits: readonly Edit[], dir = ROOT): string[] {
  return edits.flatMap(({ file, find }) => {
    const times = Deno.readTextFileSync(`${dir}/${file}`).split(find).length - 1;
    return times === 1 ? [] : [`${name}: stands ${times} times in ${file}:\n${find}`];
  });
}

/**
 * @param name What is broken, for the message.
 * @throws Error when an edit's text does not stand exactly once in its file.
 */
export function plant(name: string, edits: readonly Edit[], dir: string): void {
  const [problem] = misfits(name, edits, dir);
  if (problem !== undefined) throw new Error(`Change the list with the program. ${problem}`);
  for (const { file, find, replace } of edits) {
    const text = Deno.readTextFileSync(`${dir}/${file}`);
    Deno.writeTextFileSync(`${dir}/${file}`, text.replace(find, () => replace));
  }
}

/** Writes the rows between the two marks of a page, as a table below `head`. */
export function writeTable(
  page: string,
  [begin, end]: readonly [string, string],
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): void {
  const text = Deno.readTextFileSync(page);
  const before = text.indexOf(begin), after = text.indexOf(end);
  if (before < 0 || after < 0) {
    throw new Error(`Cannot write the table: ${page} has not both marks`);
  }
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  Deno.writeTextFileSync(
    page,
    `${text.slice(0, before + begin.length)}\n\n${lines.join("\n")}\n\n${text.slice(after)}`,
  );
}
