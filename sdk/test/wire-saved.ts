/** What the wire server keeps of sandboxes, and how it copies them and puts them to sleep. */

import type { RunRecord, SnapshotList, SnapshotResponse } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newSandboxId, newSnapshotId } from '@portico/shared/ids'

interface StoredFile {
  readonly bytes: Buffer
  readonly mode: string
}

export interface StoredSandbox {
  record: RunRecord
  readonly files: Map<string, StoredFile>
}

export interface StoredSnapshot {
  readonly shown: SnapshotList['snapshots'][number]
  readonly sandbox: StoredSandbox
}

/** New sandboxes with the files of another one. */
export function copies({ record, files }: StoredSandbox, count: number, changes: Partial<RunRecord>): StoredSandbox[] {
  const { forked_from: _parent, restored_from: _snapshot, name: _name, ...common } = record
  const created_at = new Date().toISOString()
  return Array.from({ length: count }, () => ({
    record: { ...common, status: 'running', id: newSandboxId(), created_at, ...changes },
    files: new Map(files),
  }))
}

/** Keeps a sandbox as it is now. */
export function snapshot(kept: Map<string, StoredSnapshot>, sandbox: StoredSandbox): SnapshotResponse {
  wake(sandbox)
  const id = newSnapshotId()
  const about = { run_id: sandbox.record.id, size_bytes: 2_500_000, created_at: new Date().toISOString() }
  kept.set(id, { shown: { id, ...about }, sandbox: { record: sandbox.record, files: new Map(sandbox.files) } })
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
