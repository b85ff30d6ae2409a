/** `/v1/runs/{id}/checkpoints…`: the files of one moment, kept beside the sandbox. The sandbox's object decides and asks its runner. */

import type {
  CheckpointCreated,
  CheckpointList,
  CheckpointReady,
  CheckpointRestored,
  checkpointRequest,
  checkpointWait,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newCheckpointId, parseCheckpointId } from '@portico/shared/ids'
import type { z } from 'zod'
import type { SandboxCall } from '../call.ts'
import { once } from '../middleware/idempotency.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Checkpoint } from '../ports.ts'
import { sandboxOf } from './runs.ts'

/** `POST /v1/runs/{id}/checkpoints` */
export async function createCheckpoint(call: SandboxCall<z.output<typeof checkpointRequest>>): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const { name, wait } = call.body
  return once(call, [newCheckpointId()], async ([id = ''], again) => {
    const before = again ? (await listed(call)).find((one) => one.id === id) : undefined
    const made =
      before === undefined
        ? unwrap(await reach('create the checkpoint', sandbox.createCheckpoint(call.principal, { id, name, wait })))
        : { ...before, copyMs: 0, pauseMs: 0 }
    const body: CheckpointCreated = {
      ok: true,
      checkpoint_id: id,
      name,
      created_at: made.createdAt,
      size_bytes: made.sizeBytes,
      copy_duration_ms: made.copyMs,
      pause_ms: made.pauseMs,
      ready: made.ready,
    }
    return Response.json(body, { status: 201 })
  })
}

/** `GET /v1/runs/{id}/checkpoints` */
export async function listCheckpoints(call: SandboxCall): Promise<Response> {
  const checkpoints = (await listed(call)).map(({ id, name, createdAt, sizeBytes, ready }) => ({
    id,
    name,
    created_at: createdAt,
    size_bytes: sizeBytes,
    size_human: humanSize(sizeBytes),
    ready,
  }))
  return Response.json({ checkpoints } satisfies CheckpointList)
}

/** `POST /v1/runs/{id}/checkpoints/wait` */
export async function waitForCheckpoint(call: SandboxCall<z.output<typeof checkpointWait>>): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const checkpoint_id = known(call.body.checkpoint_id)
  const waited = sandbox.waitForCheckpoint(call.principal, checkpoint_id)
  const size_bytes = unwrap(await reach('wait for the checkpoint', waited))
  return Response.json({ ok: true, checkpoint_id, size_bytes } satisfies CheckpointReady)
}

/** `POST /v1/runs/{id}/checkpoints/{checkpoint}/restore` */
export async function restoreCheckpoint(call: SandboxCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const checkpoint_id = known(call.parameter('checkpoint'))
  const restored = sandbox.restoreCheckpoint(call.principal, checkpoint_id)
  const { restoreMs, started, stopped, failed } = unwrap(await reach('restore the checkpoint', restored))
  const body: CheckpointRestored = {
    ok: true,
    checkpoint_id,
    restore_duration_ms: restoreMs,
    started_services: [...started],
    stopped_services: [...stopped],
    failed_services: [...failed],
  }
  return Response.json(body)
}

/** `DELETE /v1/runs/{id}/checkpoints/{checkpoint}` */
export async function deleteCheckpoint(call: SandboxCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const deleted = sandbox.deleteCheckpoint(call.principal, known(call.parameter('checkpoint')))
  unwrap(await reach('delete the checkpoint', deleted))
  return Response.json({ ok: true, deleted: true })
}

async function listed(call: SandboxCall): Promise<readonly Checkpoint[]> {
  const { sandbox } = sandboxOf(call)
  return unwrap(await reach('list the checkpoints', sandbox.checkpoints(call.principal)))
}

/** What cannot be an id is a checkpoint that does not exist, and costs no runner. */
function known(text: string): string {
  const id = parseCheckpointId(text)
  if (id !== undefined) return id
  throw new AppError('checkpoint_not_found', 'cannot find the checkpoint: there is none with this id')
}

const units = ['kB', 'MB', 'GB', 'TB']

/** Such as `12.3 MB`. */
export function humanSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`
  let size = bytes
  let at = -1
  // What would be rounded to 1000.0 is one of the next unit.
  while (size >= 999.95 && at < units.length - 1) {
    size /= 1000
    at++
  }
  return `${size.toFixed(1)} ${units[at]}`
}
