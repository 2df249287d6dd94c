/**
 * Who this installation is: an id kept in the state directory. A daemon that starts there again, be it
 * after a crash, is known by it, and has its lease back at once.
 *
 * A state directory that was copied (a standby, a restored snapshot) is another installation: beside the
 * id stands where it was made, and elsewhere a new id is made.
 *
 * @module
 */

import { EnvironmentError, reasonOf } from "../errors.ts";

/** Name in the state directory. */
const NAME = "holder";

/**
 * Reads the id, or makes one.
 * @param stateDir Absolute.
 * @throws EnvironmentError when it cannot be written.
 */
export function readHolder(stateDir: string, place: string = placeOf(stateDir)): string {
  const known = knownHolder(stateDir, place);
  if (known !== null) return known;
  const path = `${stateDir}/${NAME}`;
  const id = crypto.randomUUID();
  try {
    Deno.writeTextFileSync(`${path}.new`, JSON.stringify({ id, place }) + "\n");
    Deno.renameSync(`${path}.new`, path);
  } catch (error) {
    throw new EnvironmentError(
      `Cannot write ${path}: ${reasonOf(error)}; the daemon's user must be allowed to`,
    );
  }
  return id;
}

/** The id; null where there is none, or it was made elsewhere. */
export function knownHolder(stateDir: string, place: string | null = null): string | null {
  try {
    const known = JSON.parse(Deno.readTextFileSync(`${stateDir}/${NAME}`));
    const isHere = typeof known.id === "string" && known.place === (place ?? placeOf(stateDir));
    return isHere ? known.id : null;
  } catch {
    // One that cannot be read is the same as none.
    return null;
  }
}

/** The machine and the directory on it (machine-id(5)). */
function placeOf(stateDir: string): string {
  let machine = "";
  try {
    machine = Deno.readTextFileSync("/etc/machine-id").trim();
  } catch {
    // Containers often have none: their names differ.
  }
  return `${machine} ${Deno.hostname()} ${Deno.statSync(stateDir).ino}`;
}
