/**
 * What the histories of all providers have in common: whose requests they use, and how a version is read.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../depot_path.ts";
import type { ObjectInfo, ObjectPart } from "./backend.ts";
import type { History, ObjectVersion } from "./history.ts";
import type { HttpAnswer } from "./http_exchange.ts";
import { partOf, type RangeRequest } from "./http_range.ts";

/** The requests for one version of an object. */
export interface VersionRequests extends Pick<RangeRequest, "infoOf"> {
  /** Asks for a range; an answer 416 is given back too. */
  range(offset: number, length: number): Promise<HttpAnswer>;
  /** Describes the version. */
  head(): Promise<ObjectInfo>;
}

/** See the module. @template Requests What signs and sends the provider's requests. */
export abstract class BucketHistory<Requests> implements History {
  readonly label: string;
  protected readonly requests: Requests;
  /** The backend's, one character per byte, without slashes at its ends. */
  protected readonly prefix: string;
  readonly #close: () => Promise<void>;

  /** @param close Frees what `requests` uses. */
  constructor(requests: Requests, prefix: string, label: string, close: () => Promise<void>) {
    this.requests = requests;
    this.prefix = prefix;
    this.label = label;
    this.#close = close;
  }

  abstract versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion>;

  /** @param doing For the error's text: `read a/b in s3://bucket`. */
  protected abstract requestsFor(
    path: DepotPath,
    version: string,
    doing: string,
    signal: AbortSignal,
  ): VersionRequests;

  async read(
    path: DepotPath,
    version: string,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart> {
    const doing = `read ${displayPath(path)} in ${this.label}`;
    const { range, head, infoOf } = this.requestsFor(path, version, doing, signal);
    const part = await partOf(await range(offset, length), { offset, length, doing, infoOf, head });
    return part!; // without a condition nothing is unchanged
  }

  close(): Promise<void> {
    return this.#close();
  }
}
