/**
 * A backend in memory, with hooks that make it fail: for the tests of everything above storage.
 *
 * @module
 */

import type { DepotPath } from "../../src/depot_path.ts";
import {
  type Backend,
  type Content,
  type ListedObject,
  type ObjectInfo,
  type PutCondition,
  type RangeOptions,
  SLICE_BYTES,
  StorageError,
} from "../../src/storage/backend.ts";
import { RESERVED_KEYS } from "../../src/storage/object_keys.ts";
import { readContent, stopped } from "../../src/storage/operation.ts";

/** The operations that can be made to fail. */
export type Operation = "put" | "copy" | "getRange" | "getIfChanged" | "head" | "delete" | "list";

/** One object as it is kept. */
export interface MemoryObject {
  info: ObjectInfo;
  bytes: Uint8Array<ArrayBuffer>;
}

/** See the module. */
export class MemoryBackend implements Backend {
  readonly label = "memory:";
  /** What is stored; tests may look at it and change it. */
  readonly objects = new Map<string, MemoryObject>();
  /** Calls so far, in order. */
  readonly calls: { operation: Operation; path: string }[] = [];
  /**
   * Runs before each operation: may throw (a StorageError to fail), or wait.
   * `afterEffect` is true when called once more after a put, copy or delete took effect: throwing then is
   * an answer that was lost.
   */
  fault: (operation: Operation, path: string, afterEffect: boolean) => void | Promise<void> =
    () => {};
  #version = 0;

  async put(
    path: DepotPath,
    content: Content,
    signal: AbortSignal,
    condition?: PutCondition,
  ): Promise<{ etag: string }> {
    await this.#begin("put", path, signal);
    const bytes = new Uint8Array(content.size);
    for (let at = 0; at < content.size; at += SLICE_BYTES) {
      const length = Math.min(SLICE_BYTES, content.size - at);
      bytes.set(await readContent(content, at, length, `store ${path} in memory`), at);
      if (signal.aborted) throw stopped(`store ${path} in memory`, signal);
    }
    const there = this.objects.get(path)?.info.etag;
    if (condition !== undefined && condition.ifMatch !== there) {
      throw new StorageError("conflict", `Cannot store ${path} in memory: ${there} is there`);
    }
    const etag = this.#nextEtag();
    const { size, digest, mode, mtimeNs } = content;
    this.objects.set(path, { info: { size, digest, mode, mtimeNs, etag }, bytes });
    await this.fault("put", path, true);
    return { etag };
  }

  async copy(from: DepotPath, to: DepotPath, signal: AbortSignal): Promise<{ etag: string }> {
    await this.#begin("copy", to, signal);
    const { info, bytes } = this.#object(from);
    const etag = this.#nextEtag();
    this.objects.set(to, { info: { ...info, etag }, bytes });
    await this.fault("copy", to, true);
    return { etag };
  }

  async getRange(
    path: DepotPath,
    offset: number,
    length: number,
    options: RangeOptions,
  ): Promise<{ info: ObjectInfo; bytes: Uint8Array<ArrayBuffer> }> {
    await this.#begin("getRange", path, options.signal);
    const { info, bytes } = this.#object(path);
    if (options.ifMatch !== undefined && options.ifMatch !== info.etag) {
      throw new StorageError("corrupt", `Cannot read ${path} in memory: it changed`);
    }
    return { info, bytes: bytes.slice(offset, offset + length) };
  }

  async getIfChanged(
    path: DepotPath,
    etag: string,
    length: number,
    signal: AbortSignal,
  ): Promise<{ info: ObjectInfo; bytes: Uint8Array<ArrayBuffer> } | null> {
    await this.#begin("getIfChanged", path, signal);
    const { info, bytes } = this.#object(path);
    return info.etag === etag ? null : { info, bytes: bytes.slice(0, length) };
  }

  async head(path: DepotPath, signal: AbortSignal): Promise<ObjectInfo> {
    await this.#begin("head", path, signal);
    return this.#object(path).info;
  }

  async delete(path: DepotPath, signal: AbortSignal): Promise<void> {
    await this.#begin("delete", path, signal);
    this.objects.delete(path);
    await this.fault("delete", path, true);
  }

  async *list(prefix: string, signal: AbortSignal, after = ""): AsyncIterable<ListedObject> {
    if (signal.aborted) throw stopped("list memory", signal);
    for (const path of [...this.objects.keys()].sort()) {
      if (!path.startsWith(prefix) || path <= after || path.startsWith(RESERVED_KEYS)) continue;
      await this.#begin("list", path, signal);
      const { size, etag } = this.#object(path).info;
      yield { path: path as DepotPath, size, etag };
    }
  }

  async close(): Promise<void> {}

  async #begin(operation: Operation, path: string, signal: AbortSignal): Promise<void> {
    this.calls.push({ operation, path });
    if (signal.aborted) throw stopped(`${operation} ${path} in memory`, signal);
    await this.fault(operation, path, false);
    if (signal.aborted) throw stopped(`${operation} ${path} in memory`, signal);
  }

  #nextEtag(): string {
    return `"v${++this.#version}"`;
  }

  #object(path: string): MemoryObject {
    const object = this.objects.get(path);
    if (object === undefined) {
      throw new StorageError("absent", `Cannot read ${path} in memory: no such object`);
    }
    return object;
  }
}
