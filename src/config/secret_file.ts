/**
 * Secrets in files of their own: read at start, and again when the file changed (rotation without a
 * restart). Surrounding white space does not belong to the secret.
 *
 * @module
 */

import { ConfigError, fileProblem } from "../errors.ts";

/** What is needed of the file system. */
export type SecretFiles = Pick<typeof Deno, "readTextFileSync" | "statSync">;

/** Longest secret, characters; a shared access signature has some hundreds. */
const MAX_LENGTH = 16_384;

/** Others may read it: the bits for group and world (chmod(2)). */
const READABLE_BY_OTHERS = 0o044;

/** systemd's directory of credentials; files there are protected by it, whatever their mode says. */
const CREDENTIALS = "$CREDENTIALS_DIRECTORY/";

/**
 * Fills in systemd's directory of credentials (systemd.exec(5), LoadCredential=).
 * @param from The setting, for the message.
 * @throws ConfigError when the variable is not set
 */
export function credentialPath(
  path: string,
  from: string,
  env: (name: string) => string | undefined,
): string {
  if (!path.startsWith(CREDENTIALS)) return path;
  const directory = env("CREDENTIALS_DIRECTORY");
  if (directory) return `${directory}/${path.slice(CREDENTIALS.length)}`;
  throw new ConfigError(
    `Cannot use ${from} '${path}': CREDENTIALS_DIRECTORY is not set; it is by systemd for a unit ` +
      "with LoadCredential=, else write the path itself",
  );
}

/**
 * Reads the secret as it is now.
 * @param from The setting, for the message.
 * @throws ConfigError when the file cannot be read or holds no secret
 */
export function readSecret(path: string, from: string, files: SecretFiles = Deno): string {
  let secret: string;
  try {
    secret = files.readTextFileSync(path).trim();
  } catch (error) {
    throw new ConfigError(
      `Cannot read the secret ${path} (${from}): ${fileProblem(error)}; give a file that the ` +
        "daemon's user can read",
    );
  }
  // deno-lint-ignore no-control-regex
  if (secret !== "" && secret.length <= MAX_LENGTH && !/[\x00-\x1f\x7f]/.test(secret)) {
    return secret;
  }
  throw new ConfigError(
    `Cannot use the secret in ${path} (${from}): ${
      secret === "" ? "the file is empty" : "it is not one line of text"
    }; allowed is the secret alone`,
  );
}

/** A secret that is read again when its file was replaced or written to. */
export class SecretFile {
  readonly #path: string;
  readonly #from: string;
  readonly #files: SecretFiles;
  #version = "";
  #secret = "";

  /** @param from The setting, for messages. */
  constructor(path: string, from: string, files: SecretFiles = Deno) {
    this.#path = path;
    this.#from = from;
    this.#files = files;
  }

  /**
   * The secret as the file has it now; reads it only when its inode, size or mtime changed.
   * @throws ConfigError when the file cannot be read or holds no secret
   */
  get(): string {
    const version = this.#look();
    if (version === "" || version !== this.#version) {
      this.#secret = readSecret(this.#path, this.#from, this.#files);
      this.#version = version;
    }
    return this.#secret;
  }

  /** Empty when it cannot be looked at: reading it then says why. */
  #look(): string {
    try {
      const { ino, size, mtime } = this.#files.statSync(this.#path);
      return `${ino} ${size} ${mtime?.getTime()}`;
    } catch {
      return "";
    }
  }
}

/** What to tell the administrator about the file's mode; null when it is well. */
export function secretFileWarning(
  path: string,
  env: (name: string) => string | undefined,
  files: SecretFiles = Deno,
): string | null {
  const directory = env("CREDENTIALS_DIRECTORY");
  if (directory && path.startsWith(directory + "/")) return null;
  const mode = files.statSync(path).mode ?? 0;
  if ((mode & READABLE_BY_OTHERS) === 0) return null;
  const bits = (mode & 0o777).toString(8).padStart(4, "0");
  return `Others can read the secret in ${path} (mode ${bits}): run chmod 600 ${path}`;
}
