/**
 * The program's name and version.
 *
 * @module
 */

import project from "../deno.json" with { type: "json" };

/** As people type it. */
export const PROGRAM_NAME = "p4-cache";

/** Semantic version, from `deno.json`. */
export const VERSION: string = project.version;
