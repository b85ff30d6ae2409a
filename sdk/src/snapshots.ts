/** Snapshots: the state of a sandbox at one moment, kept until somebody deletes it. */

import { snapshotDeleted } from '@portico/shared/api'
import { shortMs } from './limits.ts'
import type { Transport } from './transport.ts'

/** A snapshot as the platform's record shows it. */
export interface SnapshotInfo {
  readonly id: string
  /** The sandbox that it was taken of, which may be gone. */
  readonly sandboxId: string
  /** What it takes on disk beyond what it shares with its image. */
  readonly sizeBytes: number
  readonly createdAt: Date
}

/** @internal */
export function snapshotInfo(id: string, record: Taken): SnapshotInfo {
  return {
    id,
    sandboxId: record.run_id,
    sizeBytes: record.size_bytes,
    createdAt: new Date(record.created_at),
  }
}

interface Taken {
  readonly run_id: string
  readonly size_bytes: number
  readonly created_at: string
}

/** @internal Deletes a snapshot by its id. `detached` goes on when the client is closed. */
export async function deleteSnapshot(
  transport: Transport,
  id: string,
  signal?: AbortSignal,
  detached = false,
): Promise<void> {
  const path = `/v1/snapshots/${encodeURIComponent(id)}`
  const call = { method: 'DELETE', path, doing: 'delete the snapshot', limitMs: shortMs } as const
  await transport.json({ ...call, repeatable: true, signal, detached }, snapshotDeleted)
}
