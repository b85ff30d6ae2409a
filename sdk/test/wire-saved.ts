/** What the wire server keeps of sandboxes, and how it copies them and puts them to sleep. */

import type { CheckpointList, RunRecord, SnapshotList, SnapshotResponse, StoreEntry } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newSandboxId, newSnapshotId } from '@portico/shared/ids'

export interface StoredFile {
  readonly bytes: Buffer
  readonly mode: string
  readonly owner?: string
  readonly isDirectory?: true
}

export interface StoredCheckpoint {
  readonly shown: CheckpointList['checkpoints'][number]
  readonly files: ReadonlyMap<string, StoredFile>
}

export interface StoredSandbox {
  record: RunRecord
  readonly files: Map<string, StoredFile>
  readonly checkpoints: Map<string, StoredCheckpoint>
  readonly store: Map<string, StoreEntry>
}

/** A sandbox without anything in it. */
export function emptySandbox(record: RunRecord): StoredSandbox {
  return { record, files: new Map(), checkpoints: new Map(), store: new Map() }
}

export interface StoredSnapshot {
  readonly shown: SnapshotList['snapshots'][number]
  readonly sandbox: StoredSandbox
}

/** New sandboxes with the files of another one. */
export function copies(
  { record, files, store }: StoredSandbox,
  count: number,
  changes: Partial<RunRecord>,
): StoredSandbox[] {
  const { forked_from: _parent, restored_from: _snapshot, name: _name, ...common } = record
  const created_at = new Date().toISOString()
  return Array.from({ length: count }, () => ({
    ...emptySandbox({ ...common, status: 'running', id: newSandboxId(), created_at, ...changes }),
    files: new Map(files),
    store: new Map(store),
  }))
}

/** Keeps a sandbox as it is now. */
export function snapshot(kept: Map<string, StoredSnapshot>, sandbox: StoredSandbox): SnapshotResponse {
  wake(sandbox)
  const id = newSnapshotId()
  const about = { run_id: sandbox.record.id, size_bytes: 2_500_000, created_at: new Date().toISOString() }
  kept.set(id, { shown: { id, ...about }, sandbox: { ...emptySandbox(sandbox.record), files: new Map(sandbox.files) } })
  return { snapshot_id: id, ...about }
}

export function hibernate(sandbox: StoredSandbox): RunRecord {
  sandbox.record = { ...sandbox.record, status: 'hibernated' }
  return sandbox.record
}

export function resume(sandbox: StoredSandbox): RunRecord {
  sandbox.record = { ...sandbox.record, status: 'running' }
  return sandbox.record
}

/** What any use of a sandbox does first. */
export function wake(sandbox: StoredSandbox): void {
  if (sandbox.record.status !== 'hibernated') return
  if (!sandbox.record.auto_resume) throw new AppError('sandbox_hibernated', 'cannot use the sandbox: it is hibernated')
  resume(sandbox)
}
