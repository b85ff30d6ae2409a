/** Forks and snapshots of sandboxes: `/v1/runs/{id}/fork`, `/v1/runs/{id}/snapshot`, `/v1/runs/restore`, `/v1/snapshots`. */

import type {
  ForkRequest,
  ForkResponse,
  RestoreRequest,
  RunRecord,
  SnapshotList,
  SnapshotResponse,
} from '@portico/shared/api'
import { newSandboxId, newSnapshotId, parseSnapshotId } from '@portico/shared/ids'
import type { Call, KeyCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { snapshotNotFound } from '../snapshot/kept.ts'
import { timestamp } from './accounts.ts'
import { sandboxOf } from './runs.ts'

/** `POST /v1/runs/{id}/fork` */
export async function forkRun(call: Call<'key', ForkRequest>): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const children = Array.from({ length: call.body.count }, () => newSandboxId())
  const made = unwrap(await reach('fork the sandbox', sandbox.fork(call.principal, children)))
  const body: ForkResponse = {
    forks: [...made.forks],
    failed: made.failed.map(({ code, message }) => ({ error: message, code })),
    pause_ms: made.pauseMs,
  }
  return Response.json(body, { status: 201 })
}

/** `POST /v1/runs/{id}/snapshot` */
export async function snapshotRun(call: KeyCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const taken = unwrap(await reach('snapshot the sandbox', sandbox.snapshot(call.principal, newSnapshotId())))
  const { id, run, sizeBytes, createdAt } = taken
  const body: SnapshotResponse = {
    snapshot_id: id,
    run_id: run,
    size_bytes: sizeBytes,
    created_at: timestamp(createdAt),
  }
  return Response.json(body, { status: 201 })
}

/** `POST /v1/runs/restore` */
export async function restoreRun(call: Call<'key', RestoreRequest>): Promise<Response> {
  const { body, objects, principal } = call
  const id = parseSnapshotId(body.snapshot_id)
  if (id === undefined) throw snapshotNotFound()
  const found = objects.account(principal.account).snapshot(principal.region, id)
  const { runner, spec: saved } = unwrap(await reach('find the snapshot', found))
  const { timeout = saved.idle_timeout, auto_resume = saved.auto_resume, on_idle = saved.on_idle, env = {} } = body
  const spec = { ...saved, idle_timeout: timeout, auto_resume, on_idle, env }
  const sandbox = newSandboxId()
  call.subject.sandbox = sandbox
  const restored = objects.sandbox(sandbox).restore({ ...principal, sandbox, snapshot: id, runner, spec })
  return Response.json(unwrap(await reach('restore the sandbox', restored)) satisfies RunRecord, { status: 201 })
}

/** `GET /v1/snapshots` */
export async function listSnapshots({ objects, principal }: KeyCall): Promise<Response> {
  const kept = await reach('list snapshots', objects.account(principal.account).snapshots(principal.region))
  const snapshots = kept.map(({ id, run, sizeBytes, createdAt }) => ({
    id,
    run_id: run,
    size_bytes: sizeBytes,
    created_at: timestamp(createdAt),
  }))
  return Response.json({ snapshots } satisfies SnapshotList)
}

/** `DELETE /v1/snapshots/{id}` */
export async function deleteSnapshot(call: KeyCall): Promise<Response> {
  const { objects, principal } = call
  const id = parseSnapshotId(call.parameter('snapshot'))
  if (id === undefined) throw snapshotNotFound()
  const deleted = objects.account(principal.account).deleteSnapshot(principal.region, id)
  unwrap(await reach('delete the snapshot', deleted))
  return Response.json({ id, status: 'deleted' })
}
