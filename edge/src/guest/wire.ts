/**
 * How the Worker hands a call to a runner's object over `fetch`: the call in one header, a short text with it, any other body as the body. The answer
 * is either the guest's, cut down to a status and a few headers, or an error of ours; a header that no guest can set tells which.
 */

import { AppError, type WireError } from '@portico/shared/errors'
import { dialHeaders } from '../tunnel/dial.ts'

export interface GuestCall {
  readonly sandbox: string
  readonly generation: number
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Path and query on the agent. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly request_id: string
  /** The `traceparent` under which the runner's span stands. */
  readonly trace?: string
  /** How long the guest may take to answer once it has the body. */
  readonly wait_ms: number
  /** How long the caller may take for one piece of the answer, where that is more than usual. */
  readonly patience_ms?: number
  /** The body goes on for as long as the call does: a refusal waits for nothing of it. */
  readonly open_ended?: boolean
  /** The body says itself when it is whole (`sealed-body.ts`); without that it is not passed on as one. */
  readonly sealed?: boolean
  /** The Worker has the body whole, so nobody has to wait for it. */
  readonly whole: boolean
  /** The whole body, where it is short: a request without a stream costs both sides much less. */
  readonly text?: string
}

/** What a runner's tunnel request carries, once its token is checked. */
export interface TunnelOwner {
  readonly runner: string
  readonly region: string
}

const callUrl = 'http://runner/call'
const callHeader = 'x-portico-call'
/** Characters of a body that travel in a header, where each may take six bytes. */
const shortText = 4096
const ownerHeader = 'x-portico-owner'
const outcomeHeader = 'x-portico-outcome'

/** Guest headers that mean something to the API's callers; nothing else of a guest's answer leaves. */
const kept = [
  'content-type',
  'content-length',
  'content-range',
  'accept-ranges',
  'last-modified',
  'etag',
  'portico-process',
]

/** What `fetch` takes for a call. A Request would be one object more, as `fetch` makes its own of it. */
export function callRequest(
  call: Omit<GuestCall, 'whole' | 'text'>,
  body: ReadableStream | string | null,
): [url: string, init: RequestInit] {
  const whole = typeof body === 'string'
  const short = whole && body.length <= shortText
  const told: GuestCall = { ...call, whole, ...(short ? { text: body } : {}) }
  const init = { method: 'POST', headers: { [callHeader]: ascii(told) } }
  return [callUrl, short ? init : { ...init, body }]
}

/** Whether a request to a runner's object is a call, and not a tunnel. */
export function isCall(request: Request): boolean {
  return request.url === callUrl
}

export function readCall(request: Request): GuestCall {
  return JSON.parse(request.headers.get(callHeader) ?? '') as GuestCall
}

/** The upgrade request as the runner's object gets it. */
export function tunnelRequest(request: Request, owner: TunnelOwner): Request {
  const upgrade = new Request('http://runner/tunnel', { method: 'GET', headers: { upgrade: 'websocket' } })
  upgrade.headers.set(ownerHeader, ascii(owner))
  for (const name of ['sec-websocket-version', ...dialHeaders]) {
    const value = request.headers.get(name)
    if (value !== null) upgrade.headers.set(name, value)
  }
  return upgrade
}

export function readOwner(request: Request): TunnelOwner {
  return JSON.parse(request.headers.get(ownerHeader) ?? '') as TunnelOwner
}

/** Headers of a guest's answer as they go to the Worker. */
export function guestHeaders(from: Readonly<Record<string, string>>): Record<string, string> {
  const headers: Record<string, string> = { [outcomeHeader]: 'guest' }
  for (const name of Object.keys(from)) {
    const lower = name.toLowerCase()
    const value = from[name] as string
    if (kept.includes(lower) && !/[\r\n\0]/.test(value)) headers[lower] = value
  }
  return headers
}

export function errorAnswer({ code, message }: WireError): Response {
  return Response.json({ code, message }, { headers: { [outcomeHeader]: 'error' } })
}

/** The guest's answer, or our error thrown. */
export async function readAnswer(response: Response): Promise<Response> {
  if (response.headers.get(outcomeHeader) === 'guest') return response
  throw AppError.fromWire(await response.json())
}

/** JSON that fits into a header. */
function ascii(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
