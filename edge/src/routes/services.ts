/** `/v1/runs/{id}/services…`: long-running processes that the sandbox's agent supervises. It decides everything about them; here calls find it, answers are checked, and images are brought. */

import {
  type InSandboxExecResponse,
  inSandboxExecResponse,
  type ServiceRecord,
  serviceDeleted,
  type serviceExecRequest,
  serviceList,
  serviceName,
  serviceRecord,
  type serviceRequest,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { z } from 'zod'
import { noteCall } from '../audit/calls.ts'
import type { SandboxCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { GuestImage } from '../ports.ts'
import { AsEvents } from '../process/as-events.ts'
import { askGuest, type Question, waitMs } from '../process/ask.ts'
import { followed, outputHeaders } from '../process/follow.ts'
import { holderPatienceMs, outputQuery } from '../process/output-query.ts'
import { asRecords } from '../process/translation.ts'
import { sandboxOf } from './runs.ts'

/** A start waits until it is ready, an hour at most for each service; those that it needs are started before it. */
const startWaitMs = 7_200_000
/** A stop waits for ten minutes at most before it kills. */
const stopWaitMs = 660_000

/** `GET /v1/runs/{id}/services` */
export async function listServices(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  return Response.json(await askGuest(call, id, { method: 'GET', path: '/services' }, serviceList))
}

/** `PUT /v1/runs/{id}/services/{name}` */
export async function upsertService(call: SandboxCall<z.output<typeof serviceRequest>>): Promise<Response> {
  const { id } = sandboxOf(call)
  const name = call.parameter('name')
  const checked = serviceName.safeParse(name)
  if (!checked.success) {
    const why = checked.error.issues[0]?.message ?? 'it is not valid'
    throw new AppError('invalid_request', `cannot use the service's name: ${why}`)
  }
  const { body } = call
  const container_image = body.container ? await bringImage(call, body.image) : undefined
  const json = container_image === undefined ? body : { ...body, container_image }
  const path = `/services/one?${new URLSearchParams({ name })}`
  const record = await askGuest(call, id, { method: 'PUT', path, json }, serviceRecord)
  const { cmd, args, container, image } = body
  noteCall(call, id, 'service.upserted', { service: name, cmd, args, ...(container ? { image } : {}) })
  return shown(record)
}

/** `GET /v1/runs/{id}/services/{name}` */
export async function readService(call: SandboxCall): Promise<Response> {
  const { sandbox, query } = serviceOf(call)
  return shown(await askService(call, sandbox, { method: 'GET', path: `/services/one?${query}` }))
}

/** `DELETE /v1/runs/{id}/services/{name}` */
export async function deleteService(call: SandboxCall): Promise<Response> {
  const { sandbox, name, query } = serviceOf(call)
  const question = { method: 'DELETE', path: `/services/one?${query}`, waitMs: stopWaitMs } as const
  const deleted = await askGuest(call, sandbox, question, serviceDeleted)
  noteCall(call, sandbox, 'service.deleted', { service: name })
  return Response.json(deleted)
}

/** `POST /v1/runs/{id}/services/{name}/start` */
export async function startService(call: SandboxCall): Promise<Response> {
  const { sandbox, name, query } = serviceOf(call)
  const question = { method: 'POST', path: `/services/start?${query}`, waitMs: startWaitMs } as const
  const record = await askService(call, sandbox, question)
  noteCall(call, sandbox, 'service.started', { service: name })
  return shown(record)
}

/** `POST /v1/runs/{id}/services/{name}/stop` */
export async function stopService(call: SandboxCall): Promise<Response> {
  const { sandbox, name, query } = serviceOf(call)
  const question = { method: 'POST', path: `/services/stop?${query}`, waitMs: stopWaitMs } as const
  const record = await askService(call, sandbox, question)
  noteCall(call, sandbox, 'service.stopped', { service: name })
  return shown(record)
}

/** `POST /v1/runs/{id}/services/{name}/exec` */
export async function execInService(call: SandboxCall<z.output<typeof serviceExecRequest>>): Promise<Response> {
  const { sandbox, name, query } = serviceOf(call)
  const { cmd, timeout_secs } = call.body
  const question = {
    method: 'POST',
    path: `/services/exec?${query}`,
    json: { cmd, timeout_secs },
    waitMs: waitMs + Math.ceil(timeout_secs * 1000),
  } as const
  const done = await askGuest(call, sandbox, question, inSandboxExecResponse)
  noteCall(call, sandbox, 'service.exec', { service: name, command: cmd, exit_code: done.exit_code })
  return Response.json(done satisfies InSandboxExecResponse)
}

/** `GET /v1/runs/{id}/services/{name}/logs?from=&follow=&encoding=` */
export async function readServiceLogs(call: SandboxCall): Promise<Response> {
  const { sandbox, name, query } = serviceOf(call)
  const { from, follow, events } = outputQuery(call.url.searchParams, call.request.headers)
  const translation = events === undefined ? asRecords : new AsEvents(events, call.requestId)
  if (call.request.method === 'HEAD') {
    await askService(call, sandbox, { method: 'GET', path: `/services/one?${query}` })
    return new Response(null, { headers: outputHeaders(translation.contentType) })
  }
  const wanted = new URLSearchParams({ name, from: String(from), follow: String(follow) })
  const path = `/services/logs?${wanted}`
  const logs = await callGuest(call, sandbox, { method: 'GET', path, waitMs, patienceMs: holderPatienceMs })
  return followed(call, logs, { sandbox, translation, outlives: true })
}

/** What a container of the image starts with, once the image is in the sandbox. */
async function bringImage(call: SandboxCall, image: string): Promise<GuestImage> {
  if (image === '') throw new AppError('invalid_request', 'cannot create the service: a container needs an image')
  const { sandbox } = sandboxOf(call)
  return unwrap(await reach('bring the image', sandbox.bringImage(call.principal, image)))
}

interface Named {
  readonly sandbox: string
  readonly name: string
  /** Names it to the agent. */
  readonly query: URLSearchParams
}

function serviceOf(call: SandboxCall): Named {
  const { id } = sandboxOf(call)
  const name = call.parameter('name')
  if (!serviceName.safeParse(name).success) {
    throw new AppError('service_not_found', 'cannot find the service: there is none with this name')
  }
  return { sandbox: id, name, query: new URLSearchParams({ name }) }
}

function askService(call: SandboxCall, sandbox: string, question: Question): Promise<ServiceRecord> {
  return askGuest(call, sandbox, question, serviceRecord)
}

function shown(record: ServiceRecord): Response {
  return Response.json(record)
}
