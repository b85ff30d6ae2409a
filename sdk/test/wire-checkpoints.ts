/** Checkpoints of the wire server's sandboxes. */

import { type CheckpointCreated, type CheckpointRestored, checkpointRequest, checkpointWait } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newCheckpointId } from '@portico/shared/ids'
import { parse, type SeenRequest } from './wire-request.ts'
import type { StoredCheckpoint, StoredSandbox } from './wire-saved.ts'

export function checkpoints(sandbox: StoredSandbox, seen: SeenRequest, id?: string, verb?: string): unknown {
  if (id === undefined) {
    if (seen.method === 'POST') return create(sandbox, parse(checkpointRequest, seen))
    return { checkpoints: [...sandbox.checkpoints.values()].map(({ shown }) => shown) }
  }
  if (id === 'wait') {
    const { checkpoint_id } = parse(checkpointWait, seen)
    const { shown, files } = find(sandbox, checkpoint_id)
    sandbox.checkpoints.set(checkpoint_id, { shown: { ...shown, ready: true }, files })
    return { ok: true, checkpoint_id, size_bytes: shown.size_bytes }
  }
  const { files } = find(sandbox, id)
  if (verb === 'restore') return restore(sandbox, id, files)
  sandbox.checkpoints.delete(id)
  return { ok: true, deleted: true }
}

function find(sandbox: StoredSandbox, id: string): StoredCheckpoint {
  const checkpoint = sandbox.checkpoints.get(id)
  if (checkpoint === undefined) throw new AppError('checkpoint_not_found', `cannot find the checkpoint ${id}`)
  return checkpoint
}

function create(
  { checkpoints: all, files }: StoredSandbox,
  { name, wait }: { readonly name: string; readonly wait: boolean },
): CheckpointCreated {
  const id = newCheckpointId()
  const common = { name, created_at: '2026-01-02T03:04:05.000Z', size_bytes: 12_900_000, ready: wait }
  all.set(id, { shown: { id, ...common, size_human: '12.9 MB' }, files: new Map(files) })
  return { ok: true, checkpoint_id: id, ...common, copy_duration_ms: 21, pause_ms: 6 }
}

function restore({ files }: StoredSandbox, checkpoint_id: string, kept: StoredCheckpoint['files']): CheckpointRestored {
  files.clear()
  for (const [path, file] of kept) files.set(path, file)
  const services = { started_services: ['db'], stopped_services: [], failed_services: [] }
  return { ok: true, checkpoint_id, restore_duration_ms: 310, ...services }
}
