/**
 * A request for a port on its way from the Worker: one `fetch` of the runner's object, whose answer is passed on untouched. Where memory led to the
 * wrong place the route is looked up again and the request sent once more, if nothing of its body was used up.
 */

import { AppError } from '@portico/shared/errors'
import type { Services } from '../call.ts'
import { runnerFetcher } from '../durable/objects.ts'
import type { Env } from '../env.ts'
import { reach } from '../platform-errors.ts'
import type { Objects, PortRoute } from '../ports.ts'
import { isSocketRequest, offeredProtocols, requestHeaders } from './request-headers.ts'
import { settingOf } from './routes.ts'
import { appAnswer, type PortCall, portRequest } from './wire.ts'

/** Up to here a body is sent in one piece, in the same message as its request. */
const smallBody = 16_384

export interface Visit {
  readonly request: Request
  readonly env: Env
  readonly objects: Objects
  readonly services: Services
  readonly requestId: string
  readonly sandbox: string
  readonly port: number
  readonly path: string
  readonly prefix: string
  /** The host is the API's. */
  readonly sandboxed: boolean
  /** The key that let the caller in stays here. */
  readonly hidesAuthorization: boolean
}

export interface Found {
  readonly route: PortRoute
  readonly fresh: boolean
}

/** The app's answer. `allow` is asked about every route before something is sent there. */
export async function sendToPort(visit: Visit, first: Found, allow: (route: PortRoute) => unknown): Promise<Response> {
  const { objects, request, sandbox, services } = visit
  const body = await bodyOf(request)
  try {
    return await send(visit, first.route, body)
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    const isMisled = thrown.code === 'moved' || thrown.code === 'sandbox_not_found'
    if (!isMisled && (thrown.code !== 'runner_disconnected' || first.fresh)) throw thrown
    services.ports.drop(sandbox)
    if (first.fresh || body instanceof ReadableStream) throw thrown
    const second = await services.ports.find(objects, sandbox)
    // What its object knows by now of a sandbox whose runner is away was said; nothing is sent a second time.
    if (!isMisled) throw thrown
    await allow(second.route)
    return await send(visit, second.route, body)
  }
}

async function send(visit: Visit, route: PortRoute, body: ReadableStream | ArrayBuffer | null): Promise<Response> {
  const { request, port, prefix, sandboxed, hidesAuthorization } = visit
  const { host } = settingOf(route, port)
  const isSocket = isSocketRequest(request)
  const kind = body === null ? 'none' : body instanceof ArrayBuffer ? 'whole' : 'stream'
  const rules = { port, host, prefix, hidesAuthorization }
  const call: PortCall = {
    op: isSocket ? 'port.socket' : 'port.request',
    sandbox: visit.sandbox,
    generation: route.generation,
    port,
    method: request.method,
    path: visit.path,
    headers: requestHeaders(request, rules, isSocket ? undefined : lengthOf(request, body)),
    protocols: isSocket ? offeredProtocols(request) : [],
    request_id: visit.requestId,
    body: isSocket ? 'none' : kind,
    prefix,
    sandboxed,
  }
  const [url, init] = portRequest(call, isSocket ? null : body)
  const asked = runnerFetcher(visit.env, route.runner).fetch(url, { ...init, redirect: 'manual' })
  return await appAnswer(await reach('reach the port', asked))
}

async function bodyOf(request: Request): Promise<ReadableStream | ArrayBuffer | null> {
  if (request.body === null) return null
  const length = statedLength(request)
  return length !== undefined && length <= smallBody ? await request.arrayBuffer() : request.body
}

/** What the app is told of the body's length: of a body that comes in pieces what the caller stated, unless it said two things. */
function lengthOf(request: Request, body: ReadableStream | ArrayBuffer | null): number | undefined {
  if (body instanceof ArrayBuffer) return body.byteLength
  const stated = statedLength(request)
  return body === null && stated !== 0 ? undefined : stated
}

function statedLength({ headers }: Request): number | undefined {
  const text = headers.get('content-length') ?? ''
  return /^\d{1,15}$/.test(text) && headers.get('transfer-encoding') === null ? Number(text) : undefined
}
