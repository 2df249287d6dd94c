/**
 * The versions of a container whose account has blob versioning on ("List Blobs", `include=versions`).
 *
 * Azure does not tell when a blob was deleted, only that no version is the current one: a deleted blob
 * counts as there at every moment from its last version to now, and as gone now.
 *
 * @module
 */

import { type DepotPath, displayPath } from "../../cache/depot_path.ts";
import { type ObjectInfo, type ObjectPart, StorageError } from "../backend.ts";
import type { History, ObjectVersion } from "../history.ts";
import { partOf, sizeOf } from "../http_range.ts";
import { ESCAPED_DIR, keyFromText } from "../object_keys.ts";
import { isProbeObject } from "../probe.ts";
import { xmlElements, xmlRootIs, xmlText } from "../xml.ts";
import { infoOf } from "./azure_answers.ts";
import { escapeStart, isPlainName, isPlainStart, nameOfPath, pathOfName } from "./azure_names.ts";
import type { AzureRequests } from "./azure_requests.ts";

/** See the module. */
export class AzureHistory implements History {
  readonly label: string;
  readonly #requests: AzureRequests;
  readonly #prefix: string;
  readonly #close: () => Promise<void>;

  /** @param prefix One character per byte, without slashes at its ends. */
  constructor(requests: AzureRequests, prefix: string, label: string, close: () => Promise<void>) {
    this.#requests = requests;
    this.#prefix = prefix;
    this.label = label;
    this.#close = close;
  }

  async *versions(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    const under = this.#prefix === "" ? "" : this.#prefix + "/";
    let plain = prefix;
    while (!isPlainStart(plain)) plain = plain.slice(0, -1);
    for (
      const [isPlain, start] of [[false, ESCAPED_DIR + escapeStart(prefix)], [true, plain]] as const
    ) {
      for await (const version of this.#list(under + start, signal)) {
        const { path } = version;
        // Escaped ones come with the first listing only.
        if (isPlainName(path) !== isPlain || !path.startsWith(prefix)) continue;
        if (!isProbeObject(path)) yield version;
      }
    }
  }

  async read(
    path: DepotPath,
    version: string,
    offset: number,
    length: number,
    signal: AbortSignal,
  ): Promise<ObjectPart> {
    const doing = `read ${displayPath(path)} in ${this.label}`;
    const request = {
      blob: nameOfPath(this.#prefix, path),
      query: { versionid: keyFromText(version) },
      doing,
      signal,
    };
    const head = async (): Promise<ObjectInfo> => {
      const answer = await this.#requests.send({ ...request, method: "HEAD" });
      await answer.cancel();
      return infoOf(answer, sizeOf(answer, doing), doing);
    };
    const answer = await this.#requests.send({
      ...request,
      method: "GET",
      headers: [["x-ms-range", `bytes=${offset}-${offset + length - 1}`]],
      expects: [416],
    });
    return (await partOf(answer, { offset, length, doing, infoOf, head }))!;
  }

  close(): Promise<void> {
    return this.#close();
  }

  async *#list(prefix: string, signal: AbortSignal): AsyncIterable<ObjectVersion> {
    const doing = `list the versions in ${this.label}`;
    let group: ObjectVersion[] = [], isThere = false;
    const told = () => {
      const [first] = group;
      // Its deletion is some time before now.
      const gone = first === undefined || isThere
        ? []
        : [{ ...first, storedMs: Date.now(), isDeleted: true }];
      return [...gone, ...group];
    };
    for (let marker = "";;) {
      const answer = await this.#requests.send({
        method: "GET",
        blob: null,
        query: {
          restype: "container",
          comp: "list",
          include: "versions",
          prefix,
          ...(marker === "" ? {} : { marker }),
        },
        doing,
        signal,
      });
      const page = await answer.text();
      if (!xmlRootIs(page, "EnumerationResults") || !page.includes("</EnumerationResults>")) {
        throw new StorageError("transient", `Cannot ${doing}: the answer is no whole listing`);
      }
      for (const xml of xmlElements(page, "Blob")) {
        const version = this.#version(xml, doing);
        if (version === null) continue;
        if (group.length > 0 && group[0]!.path !== version.path) {
          yield* told();
          group = [];
          isThere = false;
        }
        group.push(version);
        isThere ||= xmlText(xml, "IsCurrentVersion") === "true";
      }
      marker = keyFromText(xmlText(page, "NextMarker") ?? "");
      if (marker === "") break;
    }
    yield* told();
  }

  /** Null when it is none of ours. */
  #version(xml: string, doing: string): ObjectVersion | null {
    const name = xmlText(xml, "Name"), size = xmlText(xml, "Content-Length");
    const version = xmlText(xml, "VersionId") ?? "";
    const storedMs = Date.parse(version);
    if (name === null || size === null || Number.isNaN(storedMs)) {
      throw new StorageError(
        "permanent",
        `Cannot ${doing}: an entry has no version; turn on blob versioning of the account`,
      );
    }
    const path = pathOfName(this.#prefix, keyFromText(name));
    return path === null ? null : { path, version, size: Number(size), storedMs, isDeleted: false };
  }
}
