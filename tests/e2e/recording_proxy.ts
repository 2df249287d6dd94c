/**
 * A proxy between one daemon and a server that speaks HTTP: it knows what the daemon asked for, and can
 * be cut.
 *
 * @module
 */

/** What a daemon asked for. */
export interface Asked {
  readonly atMs: number;
  readonly method: string;
  /** With its query, as it was sent. */
  readonly path: string;
}

/** See the module. */
export class RecordingProxy {
  readonly endpoint: string;
  readonly asked: Asked[] = [];
  readonly #listener: Deno.Listener;
  readonly #server: Deno.ConnectOptions;
  readonly #open = new Set<Deno.Conn>();
  #isCut = false;

  /** @param upstream The server's URL. @param hostname Where others reach the proxy. */
  constructor(upstream: string, hostname = "127.0.0.1") {
    const url = new URL(upstream);
    this.#server = { hostname: url.hostname, port: Number(url.port) };
    this.#listener = Deno.listen({ hostname, port: 0 });
    const { port } = this.#listener.addr as Deno.NetAddr;
    this.endpoint = `http://${hostname}:${port}`;
    void this.#serve();
  }

  /** Requests that change what is stored, the lease's left out unless it is asked for. */
  writes(withLease = false): Asked[] {
    return this.asked.filter(({ method, path }) =>
      ["PUT", "POST", "DELETE"].includes(method) && !path.includes(".p4cache-probe") &&
      (withLease || !path.includes(".p4cache/lease"))
    );
  }

  /** Ends every connection, and takes none until it is mended. */
  cut(): void {
    this.#isCut = true;
    for (const conn of this.#open) close(conn);
  }

  mend(): void {
    this.#isCut = false;
  }

  end(): void {
    this.cut();
    this.#listener.close();
  }

  async #serve(): Promise<void> {
    for await (const client of this.#listener) void this.#relay(client);
  }

  async #relay(client: Deno.Conn): Promise<void> {
    if (this.#isCut) return close(client);
    this.#open.add(client);
    try {
      const server = await Deno.connect(this.#server);
      this.#open.add(server);
      await Promise.race([
        copy(client, server, (bytes) => this.#note(bytes)),
        copy(server, client, () => {}),
      ]);
      close(server);
      this.#open.delete(server);
    } catch {
      // Cut, or ended by either side.
    }
    close(client);
    this.#open.delete(client);
  }

  /** A request's head comes in one piece, at the start of what is read. */
  #note(bytes: Uint8Array): void {
    const head = new TextDecoder("latin1").decode(bytes.subarray(0, 4096));
    const found = /^([A-Z]+) (\S+) HTTP\/1\.1\r\n/.exec(head);
    if (found === null) return;
    this.asked.push({ atMs: Date.now(), method: found[1]!, path: found[2]! });
  }
}

async function copy(
  from: Deno.Conn,
  to: Deno.Conn,
  onBytes: (bytes: Uint8Array) => void,
): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (;;) {
    const n = await from.read(buffer);
    if (n === null) return;
    const bytes = buffer.subarray(0, n);
    onBytes(bytes);
    for (let sent = 0; sent < n;) sent += await to.write(bytes.subarray(sent));
  }
}

function close(conn: Deno.Conn): void {
  try {
    conn.close();
  } catch {
    // Closed already.
  }
}
