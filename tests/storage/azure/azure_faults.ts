/**
 * The Azure backend against a server that does what a test tells it to.
 *
 * @module
 */

import type { AzureConfig } from "../../../src/config/config.ts";
import type { Backend } from "../../../src/storage/backend.ts";
import { openAzure } from "../../../src/storage/azure/azure_open.ts";
import { azureConfig } from "../azurite.ts";
import { PATIENT, withFaultServer } from "../fault_server.ts";

/** Runs a test against a server that answers each request with `answer`. */
export function withServer(
  answer: (request: Request, body: Uint8Array) => Response | Promise<Response>,
  test: (backend: Backend) => Promise<void>,
  changes: Partial<AzureConfig> = {},
  limits = PATIENT,
): Promise<void> {
  return withFaultServer(answer, (origin) => openAzure(azureConfig(origin, changes), limits), test);
}

/** A refusal as the service writes it. */
export function refusal(
  status: number,
  code: string,
  detail = "",
  headers: Record<string, string> = {},
) {
  const body = `\ufeff<?xml version="1.0"?><Error><Code>${code}</Code><Message>m\nRequestId:1` +
    `</Message><AuthenticationErrorDetail>${detail || "d"}</AuthenticationErrorDetail></Error>`;
  return new Response(body, { status, headers: { "x-ms-error-code": code, ...headers } });
}
