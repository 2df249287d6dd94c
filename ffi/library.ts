/**
 * Loads the C helper library.
 *
 * The library's bytes go into an anonymous memory file and are loaded from `/proc/self/fd/N`: nothing
 * is ever unpacked to a directory that somebody else could write to. Only this folder opens libraries
 * and handles pointers.
 *
 * @module
 */

import { readAsset } from "../src/assets.ts";

let loadedPath: string | null = null;

/** Path under which the helper can be opened; the memory file stays open for the process's life. */
export function helperPath(): string {
  if (loadedPath !== null) return loadedPath;
  const libc = Deno.dlopen("libc.so.6", {
    memfd_create: { parameters: ["buffer", "u32"], result: "i32" },
  });
  const name = new TextEncoder().encode("p4helper\0");
  const MFD_CLOEXEC = 1;
  const fd = libc.symbols.memfd_create(name, MFD_CLOEXEC);
  libc.close();
  if (fd < 0) throw new Error("Cannot load the helper library: memfd_create failed");
  const path = `/proc/self/fd/${fd}`;
  Deno.writeFileSync(path, readAsset("libp4helper.so"));
  loadedPath = path;
  return path;
}

/**
 * Opens the helper library with the given symbols.
 * @param path As {@link helperPath} gave it to the thread that loaded the library, for others.
 */
export function openHelper<S extends Deno.ForeignLibraryInterface>(
  symbols: S,
  path = helperPath(),
): Deno.DynamicLibrary<S> {
  return Deno.dlopen(path, symbols);
}

/** A pointer to a buffer's bytes, for FFI parameters of type `buffer`. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** NUL-terminated bytes of a path (one character per byte) for C. */
export function cString(text: string): Bytes {
  const bytes = new Uint8Array(text.length + 1);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

/** Paths as C takes many of them: u16 length, path. */
export function packPaths(paths: readonly string[]): Bytes {
  let length = 0;
  for (const path of paths) length += 2 + path.length;
  const packed = new Uint8Array(length);
  let at = 0;
  for (const path of paths) {
    packed[at++] = path.length & 0xff;
    packed[at++] = path.length >> 8;
    for (let i = 0; i < path.length; i++) packed[at++] = path.charCodeAt(i);
  }
  return packed;
}

/**
 * Awaits a non-blocking call while keeping its buffers alive: the runtime does not, and memory that
 * is collected meanwhile is written to by C.
 */
export async function holding<T>(
  call: Promise<T>,
  ...buffers: readonly ArrayBufferView[]
): Promise<T> {
  try {
    return await call;
  } finally {
    for (const buffer of buffers) void buffer.byteLength;
  }
}
