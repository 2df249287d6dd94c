/**
 * The directory of configurations, one file a depot.
 *
 * @module
 */

import { basename } from "node:path/posix";
import { EnvironmentError, fileProblem } from "../errors.ts";

/** Where `p4-cache run` looks. */
export const DEPOTS_DIR = "/etc/p4-cache/depots.d";

const SUFFIX = ".json";

/** The file of one depot. */
export interface DepotFile {
  /** File name without `.json`; what people call the depot. */
  readonly name: string;
  readonly path: string;
}

/**
 * Every `*.json` of the directory, by name; hidden ones are not looked at.
 * @throws EnvironmentError when it cannot be read.
 */
export function depotFiles(dir: string): DepotFile[] {
  try {
    return Array.from(Deno.readDirSync(dir))
      .filter(({ name, isDirectory }) =>
        name.endsWith(SUFFIX) && !name.startsWith(".") && !isDirectory
      )
      .map(({ name }) => ({ name: basename(name, SUFFIX), path: `${dir}/${name}` }))
      .sort((a, b) => a.name < b.name ? -1 : 1);
  } catch (error) {
    throw new EnvironmentError(
      `Cannot read ${dir}: ${fileProblem(error)}; it holds one JSON configuration for each depot`,
    );
  }
}
