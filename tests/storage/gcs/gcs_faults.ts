/**
 * The Google Cloud Storage backend against a server that does what a test tells it to.
 *
 * @module
 */

import type { GcsConfig } from "../../../src/config/config.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import { openGcs } from "../../../src/storage/gcs/gcs_open.ts";
import { gcsConfig } from "../fake_gcs.ts";
import { PATIENT, withFaultServer } from "../fault_server.ts";

/** One request as the server saw it. */
export interface Seen {
  readonly method: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly body: Uint8Array;
}

/** Runs a test against a server that answers each request with `answer`. */
export function withServer(
  answer: (request: Seen) => Response | Promise<Response>,
  test: (backend: Backend, origin: string) => Promise<void>,
  changes: Partial<GcsConfig> = {},
  limits = PATIENT,
): Promise<void> {
  return withFaultServer(
    ({ method, headers, url }, body) => answer({ method, headers, url: new URL(url), body }),
    (origin) => openGcs(gcsConfig(origin, changes), limits),
    test,
  );
}

/** A refusal as the JSON API writes it. */
export function refusal(
  status: number,
  reason: string,
  message = "m",
  headers: Record<string, string> = {},
): Response {
  const error = { code: status, message, errors: [{ reason, message, domain: "global" }] };
  return Response.json({ error }, { status, headers });
}

/** Headers of an object with generation 1. */
export function objectHeaders(more: Record<string, string> = {}): Record<string, string> {
  return { "x-goog-generation": "1", "x-goog-stored-content-encoding": "identity", ...more };
}
