/**
 * What Google Cloud Storage says about an object, in headers (XML API) and as a resource (JSON API).
 *
 * The version tag is the object's generation, which conditions are given with.
 *
 * @module
 */

import { type ObjectInfo, StorageError } from "../backend.ts";
import type { HttpAnswer } from "../http_exchange.ts";
import { readMetadata, type StoredMetadata, storedTime } from "../stored_metadata.ts";

/** What the names of our metadata begin with. */
export const META = "p4cache-";

/** An object as the JSON API describes it, with the fields that are asked for. */
export interface ObjectResource {
  readonly generation: string;
  readonly size: string;
  /** Base64; missing where the object was put together from others. */
  readonly md5Hash?: string;
  readonly contentEncoding?: string;
  /** RFC 3339. */
  readonly timeCreated?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Fields of {@link ObjectResource}. */
export const RESOURCE_FIELDS = "generation,size,md5Hash,contentEncoding,timeCreated,metadata";

/** Whether a tag can be a generation: only such can be asked for. */
export function isGeneration(etag: string): boolean {
  return /^\d{1,19}$/.test(etag);
}

/** Reads a resource. @throws StorageError corrupt when it is none */
export function parseResource(text: string, doing: string): ObjectResource {
  try {
    return checkResource(JSON.parse(text));
  } catch {
    throw new StorageError(
      "corrupt",
      `Cannot ${doing}: the answer describes no object; check the endpoint`,
    );
  }
}

/** @throws Error when it is none */
export function checkResource(value: unknown): ObjectResource {
  const { generation, size } = value as Partial<ObjectResource>;
  if (!isGeneration(String(generation)) || !/^\d{1,15}$/.test(String(size))) {
    throw new Error("no object");
  }
  return value as ObjectResource;
}

/** @throws StorageError permanent when the object's bytes cannot be had as they are stored */
export function infoOfResource(resource: ObjectResource, doing: string): ObjectInfo {
  const { generation, size, metadata, contentEncoding, md5Hash, timeCreated } = resource;
  requirePlain(contentEncoding ?? "", doing);
  const stored = readMetadata((name) => metadata?.[META + name] ?? null);
  const md5 = md5Of(stored, md5Hash ?? null);
  const time = storedTime(timeCreated ?? null);
  return { size: Number(size), etag: generation, ...stored, ...md5, ...time };
}

/** @throws StorageError corrupt when the headers are no object's, permanent as above */
export function infoOfHeaders(answer: HttpAnswer, size: number, doing: string): ObjectInfo {
  const { headers } = answer;
  requirePlain(headers.get("x-goog-stored-content-encoding") ?? "", doing);
  const stored = readMetadata((name) => headers.get("x-goog-meta-" + META + name));
  const etag = generationOf(answer, doing);
  const md5 = md5Of(stored, md5OfHeaders(headers));
  return { size, etag, ...stored, ...md5, ...storedTime(headers.get("last-modified")) };
}

/** Only where there is no digest to compare with. */
function md5Of({ digest }: StoredMetadata, md5: string | null): Pick<ObjectInfo, "md5"> {
  return digest !== null || md5 === null ? {} : { md5 };
}

/** @throws StorageError corrupt when there is none */
function generationOf(answer: HttpAnswer, doing: string): string {
  const generation = answer.headers.get("x-goog-generation") ?? "";
  if (isGeneration(generation)) return generation;
  // Every answer about an object has one; a proxy's page has not.
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: HTTP ${answer.status} without x-goog-generation is not how Cloud Storage ` +
      "answers; check the endpoint",
  );
}

/** MD5 of the whole object, base64; null where the server has none. */
export function md5OfHeaders(headers: HttpAnswer["headers"]): string | null {
  return /\bmd5=([A-Za-z0-9+/]{22}==)/.exec(headers.get("x-goog-hash") ?? "")?.[1] ?? null;
}

/**
 * Somebody stored the object compressed (`Content-Encoding: gzip`). Server and HTTP client unpack
 * such objects on the way, whatever they are asked for ("Transcoding of gzip-compressed files"), and
 * ranges of them are ranges of something else.
 */
function requirePlain(encoding: string, doing: string): void {
  if (encoding === "" || encoding === "identity") return;
  throw new StorageError(
    "permanent",
    `Cannot ${doing}: it is stored with Content-Encoding ${encoding}, so its bytes cannot be had as ` +
      "they are; if these are the file's own, clear the encoding with 'gcloud storage objects update " +
      "--clear-content-encoding', else upload the file again without",
  );
}
