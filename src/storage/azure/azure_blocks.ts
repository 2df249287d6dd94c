/**
 * Uploads of more than one slice: blocks staged side by side, each checked and retried singly, then
 * committed at once.
 *
 * Staged blocks are no blob and cannot be read. They cannot be removed either: the service drops
 * those that a commit does not name, and all of them a week after the last ("Put Block").
 *
 * @module
 */

import { createHash } from "node:crypto";
import { type Content, type PutCondition, SLICE_BYTES, StorageError } from "../backend.ts";
import { persist, readContent } from "../operation.ts";
import type { PartBudget } from "../part_budget.ts";
import { sideBySide } from "../side_by_side.ts";
import { etagOf } from "./azure_answers.ts";
import { md5 } from "./azure_md5.ts";
import type { AzureRequests } from "./azure_requests.ts";

/** "Scalability and performance targets for Blob storage". */
const MAX_BLOCKS = 50_000;

/** An upload in blocks: where its blob goes, and how it is stored. */
export interface BlockUpload {
  readonly requests: AzureRequests;
  readonly budget: PartBudget;
  /** Bytes of a block, a multiple of a slice. */
  readonly blockBytes: number;
  /** Blocks on their way at once. */
  readonly width: number;
  /** One character per byte. */
  readonly blob: string;
  /** Metadata and tier. */
  readonly headers: readonly (readonly [string, string])[];
  readonly content: Content;
  readonly condition: PutCondition | undefined;
  readonly doing: string;
  readonly signal: AbortSignal;
}

/** Bytes of each block but the last: as many as wanted, or more where Azure allows too few blocks. */
export function bytesOfBlock(size: number, wantedBytes: number): number {
  const slices = Math.ceil(size / SLICE_BYTES);
  return Math.max(wantedBytes, Math.ceil(slices / MAX_BLOCKS) * SLICE_BYTES);
}

/** Stores the content; returns the blob's tag. @throws StorageError when it is not stored. */
export async function putBlocks(upload: BlockUpload): Promise<string> {
  const { budget, content, doing, requests, signal } = upload;
  const bytes = bytesOfBlock(content.size, upload.blockBytes);
  const count = Math.ceil(content.size / bytes);
  const ids = blockIds(content, count);
  await sideBySide(count, upload.width, doing, signal, async (index, signal) => {
    const share = await budget.take(bytes);
    try {
      await stage(upload, ids[index]!, index * bytes, bytes, signal);
    } finally {
      budget.give(share);
    }
  });
  const list = ids.map((id) => `<Uncommitted>${id}</Uncommitted>`).join("");
  const body = Uint8Array.from(new TextEncoder().encode(
    `<?xml version="1.0" encoding="utf-8"?><BlockList>${list}</BlockList>`,
  ));
  const answer = await requests.send({
    method: "PUT",
    blob: upload.blob,
    query: { comp: "blocklist" },
    headers: [...upload.headers, ["content-md5", await md5(body)]],
    body,
    condition: upload.condition,
    doing,
    signal,
  });
  await answer.cancel();
  return etagOf(answer, doing);
}

/**
 * Names of the blocks, all equally long as the service wants. They stand for the content, so that two
 * uploads to one path never take each other's blocks for their own.
 */
function blockIds(content: Content, count: number): string[] {
  const start = createHash("sha256").update(content.digest).digest("hex").slice(0, 24);
  return Array.from(
    { length: count },
    (_, i) => btoa(start + i.toString(16).padStart(6, "0")),
  );
}

async function stage(
  upload: BlockUpload,
  id: string,
  offset: number,
  bytes: number,
  signal: AbortSignal,
): Promise<void> {
  const { content, doing } = upload;
  const length = Math.min(bytes, content.size - offset);
  const body = await readContent(content, offset, length, doing);
  const answer = await persist(upload.requests, {
    method: "PUT",
    blob: upload.blob,
    query: { comp: "block", blockid: id },
    headers: [["content-md5", await md5(body)]],
    body,
    doing,
    signal,
  });
  await answer.cancel();
  if (answer.status === 201) return;
  throw new StorageError(
    "corrupt",
    `Cannot ${doing}: a block was answered HTTP ${answer.status}, which is not how Azure answers`,
  );
}
