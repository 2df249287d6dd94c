/**
 * How one daemon reads another's depot, over HTTPS:
 *
 *     GET, HEAD /v1/object?path=…              the file, or the part that Range names (RFC 9110)
 *     GET       /v1/list?prefix=…&after=…      paths in byte order, one JSON object a line; some at a time
 *
 * Bytes of paths and tags are written as `%XX` where they are not plain. Every request has
 * `Authorization: Bearer <token>`. Every answer has the version header: another server's "not found" is
 * not taken for ours (promise P3).
 *
 * @module
 */

/** In every answer of a peer; its value is the protocol's version. */
export const PEER_HEADER = "x-p4cache-peer", PEER_VERSION = "1";

/** Request: only this version; only another one. */
export const IF_TAG = "x-p4cache-if-tag", UNLESS_TAG = "x-p4cache-unless-tag";

/** Request: ids of the installations that read from there through it, the one that asks first. */
export const READERS = "x-p4cache-readers";

/** The answer to a request whose readers include the daemon that is asked (RFC 5842). */
export const CIRCLE = 508;

/** Answer: what the object is. */
export const TAG = "x-p4cache-tag", META = "x-p4cache-", STORED_MS = "x-p4cache-stored-ms";

/** Answer to a listing: there are more. */
export const MORE = "x-p4cache-more";

/** Paths of the requests. */
export const OBJECT_PAGE = "/v1/object", LIST_PAGE = "/v1/list";

/** Entries of a listing in one answer. */
export const LIST_ENTRIES = 1000;
