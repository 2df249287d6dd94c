/**
 * The engine's parts over a real depot and manifest in a temporary directory, with storage in memory:
 * every moment of an upload or restore can be held and filled with something hostile.
 *
 * @module
 */

import { DepotFiles } from "../../ffi/files.ts";
import { Activity } from "../../src/cache/activity.ts";
import type { DepotPath } from "../../src/cache/depot_path.ts";
import { Evictor } from "../../src/cache/evictor.ts";
import { createExclusion } from "../../src/cache/exclusion.ts";
import { Intake } from "../../src/cache/intake.ts";
import { Restorer } from "../../src/cache/restorer.ts";
import { Scanner } from "../../src/cache/scanner.ts";
import { Uploader } from "../../src/cache/uploader.ts";
import type { Manifest } from "../../src/manifest/manifest.ts";
import { openManifest } from "../../src/manifest/open_manifest.ts";
import { getLog } from "../../src/observe/logging.ts";
import { Metrics } from "../../src/observe/metrics.ts";
import { MemoryBackend } from "../storage/memory_backend.ts";

const LOW_WATERMARK_BYTES = 1000;

/** See the module. The watcher is the test: it calls the intake. */
export class Engine {
  readonly dir = Deno.makeTempDirSync({ dir: "/var/tmp", prefix: "engine" });
  readonly primary = new MemoryBackend();
  readonly secondary = new MemoryBackend();
  readonly files: DepotFiles;
  readonly manifest: Manifest;
  readonly activity = new Activity();
  readonly metrics: Metrics;
  readonly intake: Intake;
  readonly scanner: Scanner;
  readonly uploader: Uploader;
  readonly evictor: Evictor;
  readonly restorer: Restorer;

  constructor(options: { readonly withSecondary?: boolean } = {}) {
    for (const name of ["manifest", "trash", "conflicts", "restore"]) {
      Deno.mkdirSync(`${this.dir}/.p4cache/${name}`, { recursive: true });
    }
    this.files = new DepotFiles(this.dir);
    this.manifest = openManifest(`${this.dir}/.p4cache/manifest`, (path) => path, (error) => {
      throw error;
    });
    const log = getLog("test");
    this.metrics = new Metrics({ depot: this.dir, mode: "readwrite" }, () => {
      throw new Error("not asked for here");
    });
    const shared = {
      files: this.files,
      manifest: this.manifest,
      activity: this.activity,
      isExcluded: createExclusion([]),
      nowSeconds: () => Math.floor(Date.now() / 1000),
      metrics: this.metrics,
      log,
    };
    this.intake = new Intake({ ...shared, onDirty: (path) => this.uploader.notice(path) });
    this.scanner = new Scanner({ ...shared, intake: this.intake });
    this.uploader = new Uploader({
      ...shared,
      backend: this.primary,
      isBackendDown: () => false,
      concurrency: 4,
      batchSize: 8,
      pollIntervalMs: 10,
    });
    this.evictor = new Evictor({
      ...shared,
      intake: this.intake,
      lowWatermarkBytes: LOW_WATERMARK_BYTES,
      minAgeSeconds: 0,
    });
    this.restorer = new Restorer({
      ...shared,
      primary: this.primary,
      secondary: options.withSecondary === true ? this.secondary : null,
      threads: 4,
      makeRoom: (bytes) => this.evictor.makeRoom(bytes),
      onRestored: () => {},
    });
  }

  /** Writes a file, as p4d would, and tells the intake. */
  write(name: string, content: string): void {
    Deno.writeTextFileSync(`${this.dir}/${name}`, content);
    this.intake.changed(name as DepotPath, content.length);
  }

  read(name: string): string {
    return Deno.readTextFileSync(`${this.dir}/${name}`);
  }

  has(name: string): boolean {
    return this.files.stat(name) !== null;
  }

  /** Content of an object, or null. */
  stored(name: string): string | null {
    const object = this.primary.objects.get(name);
    return object === undefined ? null : new TextDecoder().decode(object.bytes);
  }

  /** Waits until no file is dirty and none is in flight. */
  async settled(): Promise<void> {
    const { counters } = this.manifest;
    while (counters.dirty > 0 || this.uploader.uploading > 0) {
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.scanner.stop();
    await this.uploader.stop(0);
    await this.evictor.stop();
    await this.restorer.stop(0);
    await this.manifest.close();
    this.files.close();
    Deno.removeSync(this.dir, { recursive: true });
  }
}
