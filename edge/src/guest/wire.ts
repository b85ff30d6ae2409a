/**
 * How the Worker hands a call to a runner's object over `fetch`: the call in one header, the body as the body. The answer is either the
 * guest's, cut down to a status and a few headers, or an error of ours; a header that no guest can set tells which.
 */

import { AppError, type WireError } from '@portico/shared/errors'

export interface GuestCall {
  readonly sandbox: string
  readonly generation: number
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'POST' | 'DELETE'
  /** Path and query on the agent. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly request_id: string
  /** How long the guest may take to answer once it has the body. */
  readonly wait_ms: number
  /** The Worker has the body whole, so nobody has to wait for it. */
  readonly whole: boolean
}

/** What a runner's tunnel request carries, once its token is checked. */
export interface TunnelOwner {
  readonly runner: string
  readonly region: string
}

const callHeader = 'x-portico-call'
const ownerHeader = 'x-portico-owner'
const outcomeHeader = 'x-portico-outcome'

/** Guest headers that mean something to the API's callers; nothing else of a guest's answer leaves. */
const kept = ['content-type', 'content-length', 'content-range', 'accept-ranges', 'last-modified', 'etag']

export function callRequest(call: GuestCall, body: ReadableStream | string | null): Request {
  return new Request('http://runner/call', { method: 'POST', headers: { [callHeader]: ascii(call) }, body })
}

export function readCall(request: Request): GuestCall {
  return JSON.parse(request.headers.get(callHeader) ?? '') as GuestCall
}

/** The upgrade request as the runner's object gets it. */
export function tunnelRequest(request: Request, owner: TunnelOwner): Request {
  const upgrade = new Request('http://runner/tunnel', { method: 'GET', headers: { upgrade: 'websocket' } })
  upgrade.headers.set(ownerHeader, ascii(owner))
  const version = request.headers.get('sec-websocket-version')
  if (version !== null) upgrade.headers.set('sec-websocket-version', version)
  return upgrade
}

export function readOwner(request: Request): TunnelOwner {
  return JSON.parse(request.headers.get(ownerHeader) ?? '') as TunnelOwner
}

/** Headers of a guest's answer as they go to the Worker. */
export function guestHeaders(from: Readonly<Record<string, string>>): Headers {
  const headers = new Headers({ [outcomeHeader]: 'guest' })
  for (const [name, value] of Object.entries(from)) {
    const lower = name.toLowerCase()
    if (kept.includes(lower) && !/[\r\n\0]/.test(value)) headers.set(lower, value)
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
