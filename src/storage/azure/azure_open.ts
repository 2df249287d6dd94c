/**
 * Builds an Azure backend from its configuration: address, credentials, HTTP client.
 *
 * @module
 */

import type { AzureConfig } from "../../config/config.ts";
import { StorageError } from "../backend.ts";
import { openHttpClient } from "../http_client.ts";
import { DEFAULT_LIMITS } from "../http_exchange.ts";
import { uriEncode } from "../object_keys.ts";
import { AzureBackend } from "./azure_backend.ts";
import { credentialSource } from "./azure_credentials.ts";
import { AzureRequests, type ContainerAddress } from "./azure_requests.ts";

const MIB = 1024 * 1024;

/**
 * Opens the backend; makes no request yet.
 * @throws StorageError when the CA file cannot be read, the endpoint is no address, or credentials
 * would be sent in the clear.
 */
export async function openAzure(
  config: AzureConfig,
  limits = { ...DEFAULT_LIMITS, idleMs: config.idleTimeoutSeconds * 1000 },
): Promise<AzureBackend> {
  const address = containerAddress(config);
  if (config.accountKey === null && config.sasToken === null && !isTls(address)) {
    throw new StorageError(
      "permanent",
      `Cannot use ${address.origin} with an identity: its token would be sent in the clear; use ` +
        "https, or set account_key or sas_token",
    );
  }
  const client = await openHttpClient(config, address.origin);
  const credentials = credentialSource(config, address.account);
  const reached = { ...address, reachedAt: client.origin };
  const requests = new AzureRequests(reached, credentials, client.http, limits);
  const { prefix, accessTier, multipartThresholdMib, partSizeMib, partConcurrency } = config;
  const options = {
    account: address.account,
    container: address.container,
    prefix,
    accessTier,
    wholeBytes: multipartThresholdMib * MIB,
    blockBytes: partSizeMib * MIB,
    blocksInFlight: partConcurrency,
  };
  return new AzureBackend(requests, options, () => client.close());
}

function isTls(address: ContainerAddress): boolean {
  return address.origin.startsWith("https:");
}

/**
 * The account's own host, or an endpoint. An endpoint without path that is no domain name (an
 * emulator) has the account as the first segment of its paths.
 */
export function containerAddress(
  config: Pick<AzureConfig, "endpoint" | "accountName" | "container">,
): ContainerAddress {
  const { endpoint, accountName, container } = config;
  const text = endpoint ?? `${accountName}.blob.core.windows.net`;
  let url: URL;
  try {
    url = new URL(/^https?:\/\//i.test(text) ? text : `https://${text}`);
  } catch (cause) {
    throw new StorageError(
      "permanent",
      `Cannot use the Azure endpoint "${text}": it is no address; write http(s)://host[:port]`,
      { cause },
    );
  }
  const given = url.pathname.replace(/\/+$/, "");
  const isDomain = /[a-z]/i.test(url.hostname) && url.hostname.includes(".") &&
    !url.hostname.startsWith("[");
  const account = accountName ??
    (given === "" ? url.hostname.split(".")[0]! : given.slice(1).split("/")[0]!);
  const base = given === "" && !isDomain ? `/${account}` : given;
  return {
    origin: url.origin,
    reachedAt: url.origin,
    basePath: `${base}/${uriEncode(container, false)}`,
    account,
    container,
  };
}
