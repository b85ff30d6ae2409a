/**
 * A call to the agent of a sandbox, from the Worker: route, runner's object, answer. Where memory led to the wrong place the route is
 * looked up again and the call made once more, if nothing of its body was used up.
 */

import { AppError } from '@portico/shared/errors'
import type { KeyCall, Services } from '../call.ts'
import { runnerFetcher } from '../durable/objects.ts'
import { reach } from '../platform-errors.ts'
import type { Route } from '../ports.ts'
import { guestError } from './guest-errors.ts'
import { callRequest, type GuestCall, readAnswer } from './wire.ts'

/** On whose behalf an agent is called, and by what way. */
export interface GuestCaller extends Pick<KeyCall, 'env' | 'objects' | 'principal' | 'requestId'> {
  readonly services: Pick<Services, 'routes'>
}

export interface GuestRequest {
  readonly method: GuestCall['method']
  /** Path and query on the agent. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: ReadableStream | string | null
  /** How long the guest may take once it has the body. */
  readonly waitMs: number
  /** How long the caller may take for one piece of the answer, where that is more than usual. */
  readonly patienceMs?: number
  /** The body is in the form of `sealed-body.ts`. It may come slowly: a refusal waits for nothing of it. */
  readonly sealed?: boolean
  /** The `traceparent` of what the call starts. */
  readonly trace?: string | undefined
}

/** The guest's successful answer; anything else is thrown as an error of the table. */
export async function callGuest(call: GuestCaller, sandbox: string, request: GuestRequest): Promise<Response> {
  const first = await call.services.routes.find(call.objects, call.principal, sandbox)
  try {
    return await succeeded(await send(call, sandbox, first.route, request))
  } catch (thrown) {
    if (isCut(thrown) && !first.fresh) await refusedSince(call, sandbox)
    if (!isMisled(thrown)) throw thrown
    call.services.routes.drop(sandbox)
    if (first.fresh || request.body instanceof ReadableStream) throw thrown
    const second = await call.services.routes.find(call.objects, call.principal, sandbox)
    return await succeeded(await send(call, sandbox, second.route, request))
  }
}

async function send(call: GuestCaller, sandbox: string, route: Route, request: GuestRequest): Promise<Response> {
  const { method, path, headers = {}, body = null, waitMs, patienceMs, sealed, trace } = request
  const { runner, generation } = route
  const patience = patienceMs === undefined ? {} : { patience_ms: patienceMs }
  const limits = { wait_ms: waitMs, ...patience, ...(sealed ? { sealed, open_ended: true } : {}) }
  const told = trace === undefined ? limits : { ...limits, trace }
  const guestCall = { sandbox, generation, method, path, headers, request_id: call.requestId, ...told }
  const fetched = runnerFetcher(call.env, runner).fetch(...callRequest(guestCall, body))
  return readAnswer(await reach('reach the sandbox', fetched))
}

/** A runner does not have the sandbox, or not in this generation. Only a runner can say so: the guest's own errors have other codes. */
function isMisled(thrown: unknown): boolean {
  return thrown instanceof AppError && (thrown.code === 'moved' || thrown.code === 'sandbox_not_found')
}

function isCut(thrown: unknown): boolean {
  return thrown instanceof AppError && thrown.code === 'runner_disconnected'
}

/** What its object knows by now of a sandbox whose runner is away says more; nothing is sent a second time. */
async function refusedSince(call: GuestCaller, sandbox: string): Promise<void> {
  call.services.routes.drop(sandbox)
  await call.services.routes.find(call.objects, call.principal, sandbox)
}

async function succeeded(response: Response): Promise<Response> {
  if (response.status < 400) return response
  throw guestError(response.status, await response.text())
}
