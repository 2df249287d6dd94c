/**
 * Files of certificates and keys: each holds what its setting is for.
 *
 * @module
 */

import { ConfigError, fileProblem } from "../errors.ts";
import type { SecretFiles } from "./secret_file.ts";

/** What a PEM file can be wanted for, and how that begins (RFC 7468). */
const BEGINS = {
  certificate: /-----BEGIN (TRUSTED )?CERTIFICATE-----/,
  "private key": /-----BEGIN [A-Z ]*PRIVATE KEY-----/,
} as const;

/**
 * Reads the file, and looks for what is wanted in it.
 * @param from The setting, for the message.
 * @throws ConfigError when it cannot be read, or holds something else
 */
export function requirePem(
  path: string,
  from: string,
  wanted: keyof typeof BEGINS,
  files: Pick<SecretFiles, "readTextFileSync">,
): void {
  let text: string;
  try {
    text = files.readTextFileSync(path);
  } catch (error) {
    const why = fileProblem(error);
    throw new ConfigError(`Cannot read ${from} '${path}': ${why}; allowed is a PEM file`);
  }
  if (BEGINS[wanted].test(text)) return;
  throw new ConfigError(
    `Cannot use ${from} '${path}': there is no ${wanted} in it; allowed is a PEM file with one`,
  );
}
