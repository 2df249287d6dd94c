/**
 * Reads HTTP/1.1 answers from a connection (RFC 9112): status line, headers, and a body that ends by
 * its length, in chunks, or with the connection.
 *
 * @module
 */

/** Room for an answer's head, and for bodies that come with it, bytes. */
const BUFFER_BYTES = 16 * 1024;

/** Longest head that is taken, bytes. */
const MAX_HEAD_BYTES = 64 * 1024;

/** An answer that was read whole. */
export interface WireAnswer {
  readonly status: number;
  /** Names in lower case; repeated ones are joined as RFC 9110 §5.3 tells. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Uint8Array<ArrayBuffer>;
  /** Whether the connection may be used again. */
  readonly keepAlive: boolean;
}

/** Takes the body of one kind of answer piece by piece, in place of memory for all of it. */
export interface BodySink {
  /** Pieces are as long as this; the last one may be shorter. */
  readonly room: Uint8Array<ArrayBuffer>;
  /** Whether a body of so many bytes is for it. */
  wants(status: number, length: number): boolean;
  /** Its bytes are another piece's afterwards. What it throws ends the reading. */
  take(piece: Uint8Array<ArrayBuffer>): void;
}

/** The answer is not HTTP as RFC 9112 tells it, or too long. */
export class WireError extends Error {
  override readonly name = "WireError";
}

interface Head {
  readonly status: number;
  readonly version: string;
  readonly headers: ReadonlyMap<string, string>;
}

/** Reads the answers of one connection, one after another. */
export class AnswerReader {
  readonly #conn: Deno.Conn;
  #buffer = new Uint8Array(BUFFER_BYTES);
  #begin = 0;
  #end = 0;
  #isUntouched = true;
  #onProgress = () => {};

  constructor(conn: Deno.Conn) {
    this.#conn = conn;
  }

  /** Whether nothing of the answer being waited for has come. */
  get isUntouched(): boolean {
    return this.#isUntouched;
  }

  /**
   * Reads one answer whole.
   * @param method Of the request: an answer to HEAD has no body.
   * @param maxBytes Longest body that is taken.
   * @param onProgress Called whenever something came.
   * @param sink Gets the body if it wants it; the answer's is empty then.
   * @throws WireError, Deno.errors.UnexpectedEof when the connection ends before the answer does.
   */
  async read(
    method: string,
    maxBytes: number,
    onProgress: () => void,
    sink: BodySink | null = null,
  ): Promise<WireAnswer> {
    this.#isUntouched = true;
    this.#onProgress = onProgress;
    let head: Head;
    do head = await this.#readHead(); while (head.status < 200);
    const { status, headers, version } = head;
    const coding = headers.get("transfer-encoding");
    const length = headers.get("content-length");
    const connection = headers.get("connection")?.toLowerCase() ?? "";
    let keepAlive = version === "1.1" ? connection !== "close" : connection === "keep-alive";
    let body: Uint8Array<ArrayBuffer>;
    if (method === "HEAD" || status === 204 || status === 304) {
      body = NOTHING;
    } else if (coding !== undefined) {
      if (coding.toLowerCase() !== "chunked") throw new WireError(`unknown coding ${coding}`);
      body = await this.#readChunks(maxBytes);
    } else if (length !== undefined) {
      if (!/^\d{1,15}$/.test(length)) throw new WireError(`a Content-Length of "${length}"`);
      const bytes = checked(Number(length), maxBytes);
      if (sink?.wants(status, bytes)) {
        await this.#pour(bytes, sink);
        body = NOTHING;
      } else body = await this.#readExactly(bytes);
    } else {
      keepAlive = false;
      body = await this.#readToEnd(maxBytes);
    }
    // Bytes after the answer belong to no request: such a connection is not trusted again.
    if (this.#begin !== this.#end) keepAlive = false;
    return { status, headers, body, keepAlive };
  }

  async #readHead(): Promise<Head> {
    for (let searched = this.#begin;;) {
      const at = endOfHead(this.#buffer, searched, this.#end);
      if (at >= 0) {
        const text = latin1(this.#buffer.subarray(this.#begin, at));
        this.#begin = at + 4;
        return parseHead(text);
      }
      searched = Math.max(this.#begin, this.#end - 3);
      const moved = this.#makeRoom();
      searched -= moved;
      await this.#fill();
    }
  }

  async #readExactly(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const body = new Uint8Array(length);
    const here = Math.min(length, this.#end - this.#begin);
    body.set(this.#buffer.subarray(this.#begin, this.#begin + here));
    this.#begin += here;
    for (let at = here; at < length;) at += await this.#receive(body.subarray(at));
    return body;
  }

  async #pour(length: number, sink: BodySink): Promise<void> {
    const { room } = sink;
    for (let left = length; left > 0;) {
      const piece = room.subarray(0, Math.min(left, room.length));
      let filled = Math.min(piece.length, this.#end - this.#begin);
      piece.set(this.#buffer.subarray(this.#begin, this.#begin + filled));
      this.#begin += filled;
      while (filled < piece.length) filled += await this.#receive(piece.subarray(filled));
      sink.take(piece);
      left -= piece.length;
    }
  }

  async #readChunks(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const chunks: Uint8Array[] = [];
    let total = 0;
    for (;;) {
      const size = parseInt(/^[0-9a-f]{1,8}/i.exec(await this.#readLine())?.[0] ?? "", 16);
      if (Number.isNaN(size)) throw new WireError("a chunk without size");
      if (size === 0) break;
      total = checked(total + size, maxBytes);
      chunks.push(await this.#readExactly(size));
      if (await this.#readLine() !== "") throw new WireError("a chunk longer than it says");
    }
    while (await this.#readLine() !== "");
    return joined(chunks, total);
  }

  async #readToEnd(maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const chunks = [this.#buffer.slice(this.#begin, this.#end)];
    let total = checked(chunks[0]!.length, maxBytes);
    this.#begin = this.#end = 0;
    for (;;) {
      const count = await this.#conn.read(this.#buffer);
      if (count === null) return joined(chunks, total);
      this.#onProgress();
      total = checked(total + count, maxBytes);
      chunks.push(this.#buffer.slice(0, count));
    }
  }

  /** A line without its end. */
  async #readLine(): Promise<string> {
    for (;;) {
      const at = this.#buffer.subarray(0, this.#end).indexOf(0x0a, this.#begin);
      if (at >= 0) {
        const line = latin1(this.#buffer.subarray(this.#begin, at));
        this.#begin = at + 1;
        return line.replace(/\r$/, "");
      }
      this.#makeRoom();
      await this.#fill();
    }
  }

  /** Moves what was not used yet to the front, and grows the room when it is full; how far it moved. */
  #makeRoom(): number {
    const moved = this.#begin;
    this.#buffer.copyWithin(0, this.#begin, this.#end);
    this.#end -= this.#begin;
    this.#begin = 0;
    if (this.#end < this.#buffer.length) return moved;
    if (this.#buffer.length >= MAX_HEAD_BYTES) throw new WireError("a head that does not end");
    const larger = new Uint8Array(2 * this.#buffer.length);
    larger.set(this.#buffer);
    this.#buffer = larger;
    return moved;
  }

  async #fill(): Promise<void> {
    this.#end += await this.#receive(this.#buffer.subarray(this.#end));
  }

  async #receive(into: Uint8Array): Promise<number> {
    const count = await this.#conn.read(into);
    if (count === null) throw new Deno.errors.UnexpectedEof("the server ended the connection");
    this.#isUntouched = false;
    this.#onProgress();
    return count;
  }
}

const NOTHING = new Uint8Array(0);

function endOfHead(bytes: Uint8Array, from: number, end: number): number {
  const filled = bytes.subarray(0, end);
  for (let at = from; (at = filled.indexOf(0x0d, at)) >= 0; at++) {
    if (at + 3 >= end) return -1;
    if (bytes[at + 1] === 0x0a && bytes[at + 2] === 0x0d && bytes[at + 3] === 0x0a) return at;
  }
  return -1;
}

function parseHead(text: string): Head {
  const lines = text.split("\r\n");
  const match = /^HTTP\/(1\.[01]) (\d{3})(?: |$)/.exec(lines[0]!);
  if (match === null) throw new WireError(`an answer that begins "${lines[0]!.slice(0, 40)}"`);
  const headers = new Map<string, string>();
  for (let i = 1; i < lines.length; i++) {
    const line = lines[i]!;
    const colon = line.indexOf(":");
    if (colon <= 0) throw new WireError(`a header line "${line.slice(0, 40)}"`);
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  return { version: match[1]!, status: Number(match[2]), headers };
}

function checked(bytes: number, maxBytes: number): number {
  if (bytes <= maxBytes) return bytes;
  throw new WireError(`a body of more than ${maxBytes} bytes`);
}

function joined(chunks: readonly Uint8Array[], total: number): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode.apply(null, bytes as unknown as number[]);
}
