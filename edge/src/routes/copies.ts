/** Forks and snapshots of sandboxes: `/v1/runs/{id}/fork`, `/v1/runs/{id}/snapshot`, `/v1/runs/restore`, `/v1/snapshots`. */

import type { ForkRequest, ForkResponse, RestoreRequest, SnapshotList, SnapshotResponse } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newSandboxId, newSnapshotId, parseSnapshotId } from '@portico/shared/ids'
import { admitted } from '../account/admission.ts'
import type { Call, KeyCall } from '../call.ts'
import { once } from '../middleware/idempotency.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { addressed } from '../port/addresses.ts'
import type { Forks, Snapshot } from '../ports.ts'
import { snapshotNotFound } from '../snapshot/kept.ts'
import { type Span, traced } from '../tracing/span.ts'
import { timestamp } from './accounts.ts'
import { sandboxOf } from './runs.ts'

/** `POST /v1/runs/{id}/fork` */
export async function forkRun(call: Call<'key', ForkRequest>): Promise<Response> {
  const { id, sandbox } = sandboxOf(call)
  const ids = Array.from({ length: call.body.count }, () => newSandboxId())
  return once(call, ids, async (children, again) => {
    const before = again ? await forkedBefore(call, children) : undefined
    const about = { 'portico.sandbox.id': id, 'portico.children': children.length }
    const fork = () =>
      traced(call, 'sandbox.fork', about, async ({ trace }) =>
        unwrap(await reach('fork the sandbox', sandbox.fork(call.principal, children, trace))),
      )
    const made = before ?? (await fork())
    const body: ForkResponse = {
      forks: made.forks.map((record) => addressed(record, call)),
      failed: made.failed.map(({ code, message }) => ({ error: message, code })),
      pause_ms: made.pauseMs,
    }
    return Response.json(body, { status: 201 })
  })
}

/** What came of the children of a fork whose caller went away; undefined if none was ever made. */
async function forkedBefore({ objects, principal }: KeyCall, children: readonly string[]): Promise<Forks | undefined> {
  const action = 'fork the sandbox'
  const found = await Promise.all(children.map((child) => reach(action, objects.sandbox(child).read(principal))))
  const forks = found.flatMap((one) => (one.ok ? [one.value] : []))
  if (forks.length === 0) return undefined
  if (forks.some(({ status }) => status === 'creating')) {
    throw new AppError('idempotency_pending', 'cannot repeat the call: its children are still being made')
  }
  return { forks, failed: found.flatMap((one) => (one.ok ? [] : [one.error])), pauseMs: 0 }
}

/** `POST /v1/runs/{id}/snapshot` */
export async function snapshotRun(call: KeyCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  return once(call, [newSnapshotId()], async ([snapshot = ''], again) => {
    const before = again ? await snapshotBefore(call, snapshot) : undefined
    const taken = before ?? unwrap(await reach('snapshot the sandbox', sandbox.snapshot(call.principal, snapshot)))
    const { id, run, sizeBytes, createdAt } = taken
    const body: SnapshotResponse = {
      snapshot_id: id,
      run_id: run,
      size_bytes: sizeBytes,
      created_at: timestamp(createdAt),
    }
    return Response.json(body, { status: 201 })
  })
}

async function snapshotBefore({ objects, principal }: KeyCall, id: string): Promise<Snapshot | undefined> {
  const found = await reach('find the snapshot', objects.account(principal.account).snapshot(principal.region, id))
  return found.ok ? found.value : undefined
}

/** `POST /v1/runs/restore` */
export async function restoreRun(call: Call<'key', RestoreRequest>): Promise<Response> {
  return once(call, [newSandboxId()], ([sandbox = '']) => {
    const about = { 'portico.sandbox.id': sandbox, 'portico.region': call.principal.region }
    return traced(call, 'sandbox.restore', about, (span) => restoreAs(call, sandbox, span))
  })
}

async function restoreAs(call: Call<'key', RestoreRequest>, sandbox: string, { trace }: Span): Promise<Response> {
  const { body, objects, principal } = call
  const id = parseSnapshotId(body.snapshot_id)
  if (id === undefined) throw snapshotNotFound()
  const found = objects.account(principal.account).snapshot(principal.region, id)
  const { runner, spec: saved, resolvedImage: boots } = unwrap(await reach('find the snapshot', found))
  const { timeout = saved.idle_timeout, auto_resume = saved.auto_resume, on_idle = saved.on_idle, env = {} } = body
  const { name = null, labels = {} } = body
  const spec = { ...saved, idle_timeout: timeout, auto_resume, on_idle, env }
  call.subject.sandbox = sandbox
  const room = { action: 'restore the sandbox', sandboxes: [sandbox], vcpus: spec.vcpus, memMib: spec.mem_mib }
  const input = { ...principal, sandbox, trace, snapshot: id, runner, spec, boots, marks: { name, labels } }
  const record = await admitted(objects.account(principal.account), room, () =>
    objects.sandbox(sandbox, principal.region).restore(input),
  )
  return Response.json(addressed(record, call), { status: 201 })
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
