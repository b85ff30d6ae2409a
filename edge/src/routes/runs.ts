/** `/v1/runs`: a sandbox's life. The sandbox's object decides everything; here requests become its calls, and its answers documents. */

import {
  createRequest,
  type DestroyResponse,
  type RunList,
  type UpdateRequest,
  type UsageResponse,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { newSandboxId, parseSandboxId } from '@portico/shared/ids'
import { z } from 'zod'
import type { Call, KeyCall } from '../call.ts'
import { createOf, machineOf } from '../image/create.ts'
import { once } from '../middleware/idempotency.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { addressed } from '../port/addresses.ts'
import type { Patch, SandboxPort } from '../ports.ts'
import { costOf } from '../rates.ts'
import { traced } from '../tracing/span.ts'
import { listInput } from './list-query.ts'

/** The documented request, and the one undocumented security setting that is known to be sent. */
const { vcpus, mem_mib, disk_mib } = createRequest.shape
export const runRequest = createRequest.extend({
  credentials_v2: z.unknown().optional(),
  // Whether they were asked for matters: an image that was built has a machine of its own.
  vcpus: vcpus.unwrap().optional(),
  mem_mib: mem_mib.unwrap().optional(),
  disk_mib: disk_mib.unwrap().optional(),
})
type RunRequest = z.output<typeof runRequest>

/** `POST /v1/runs` */
export async function createRun(call: Call<'key', RunRequest>): Promise<Response> {
  const { body, principal } = call
  refuseUnsupported(body)
  const { image, timeout, env, auto_resume, on_idle, name = null, labels } = body
  const spec = { image, idle_timeout: timeout, env, auto_resume, on_idle }
  const machine = { vcpus: body.vcpus, mem_mib: body.mem_mib, disk_mib: body.disk_mib }
  const same = { ...call, url: call.url, body: { ...body, ...machineOf(machine) } }
  return once(same, [newSandboxId()], async ([sandbox = '']) => {
    call.subject.sandbox = sandbox
    const about = { 'portico.sandbox.id': sandbox, 'portico.region': principal.region, 'portico.image': image }
    return traced(call, 'sandbox.create', about, async ({ trace }) => {
      const record = await createOf(call, { sandbox, principal, spec, machine, marks: { name, labels }, trace })
      return Response.json(addressed(record, call), { status: 201 })
    })
  })
}

/** `GET /v1/runs` */
export async function listRuns(call: KeyCall): Promise<Response> {
  const { objects, principal, url } = call
  const input = listInput(url.searchParams, principal.region)
  if (input === undefined) return Response.json({ runs: [] } satisfies RunList)
  const page = unwrap(await reach('list sandboxes', objects.account(principal.account).list(input)))
  const runs = page.runs.map((record) => addressed(record, call))
  return Response.json({ ...page, runs } satisfies RunList)
}

/** `GET /v1/runs/{id}` */
export async function readRun(call: KeyCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  return Response.json(addressed(unwrap(await reach('read the sandbox', sandbox.read(call.principal))), call))
}

/** `PATCH /v1/runs/{id}` */
export async function updateRun(call: Call<'key', UpdateRequest>): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const { timeout, name, labels } = call.body
  const patch: Patch = {
    ...(timeout === undefined ? {} : { idleTimeout: timeout }),
    ...(name === undefined ? {} : { name }),
    ...(labels === undefined ? {} : { labels }),
  }
  return Response.json(
    addressed(unwrap(await reach('change the sandbox', sandbox.update(call.principal, patch))), call),
  )
}

/** `DELETE /v1/runs/{id}` */
export async function destroyRun(call: KeyCall): Promise<Response> {
  const { id, sandbox } = sandboxOf(call)
  forgetRoute(call, id)
  const { record, usage } = unwrap(await reach('destroy the sandbox', sandbox.destroy(call.principal)))
  const cost_cents = costOf(call.env, usage.uptime_ms, record)
  return Response.json({ status: 'destroyed', ...usage, cost_cents } satisfies DestroyResponse)
}

/** `POST /v1/runs/{id}/hibernate` */
export async function hibernateRun(call: KeyCall): Promise<Response> {
  const { id, sandbox } = sandboxOf(call)
  forgetRoute(call, id)
  return Response.json(addressed(unwrap(await reach('hibernate the sandbox', sandbox.hibernate(call.principal))), call))
}

/** `POST /v1/runs/{id}/resume` */
export async function resumeRun(call: KeyCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  return Response.json(addressed(unwrap(await reach('resume the sandbox', sandbox.resume(call.principal))), call))
}

/** `GET /v1/runs/{id}/usage` */
export async function readUsage(call: KeyCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const { record, usage } = unwrap(await reach('measure the sandbox', sandbox.usage(call.principal)))
  const cost_cents = costOf(call.env, usage.uptime_ms, record)
  return Response.json({ ...usage, cost_cents } satisfies UsageResponse)
}

/** The sandbox that a path names. What cannot be an id is a sandbox that does not exist, and costs no object. */
export function sandboxOf(call: Call): { id: string; sandbox: SandboxPort } {
  const id = parseSandboxId(call.parameter('id'))
  if (id === undefined) throw new AppError('sandbox_not_found', 'cannot find the sandbox: there is none with this id')
  call.subject.sandbox = id
  return {
    id,
    get sandbox() {
      return call.objects.sandbox(id)
    },
  }
}

/** Its state is about to change: the next use asks for it. */
function forgetRoute({ services }: Call, id: string): void {
  services.routes.drop(id)
  services.ports.drop(id)
}

/** Security settings are kept or refused, never ignored. No sandbox has a network yet, so what asks for none is kept. */
function refuseUnsupported(body: RunRequest): void {
  if (body.network !== undefined) throw unsupported('network', 'sandboxes have no network yet')
  if (body.network_profile !== undefined && body.network_profile !== 'locked-down') {
    throw unsupported('network_profile', 'sandboxes have no network yet, so only "locked-down" can be kept')
  }
  if (Object.keys(body.credentials ?? {}).length > 0) throw unsupported('credentials', 'they cannot be injected yet')
  if (body.credentials_v2 !== undefined) throw unsupported('credentials_v2', 'they cannot be injected yet')
}

function unsupported(field: string, why: string): AppError {
  return new AppError('unsupported', `cannot create the sandbox: ${field}: ${why}`)
}
