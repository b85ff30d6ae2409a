/**
 * How the Worker hands a request for a port to a runner's object over `fetch`: what to ask and how to answer in one header, the body as the body.
 * The answer is the app's own, ready for the caller, or an error of ours, which a header tells that no app can set.
 */

import type { HeaderList } from '@portico/shared/control'
import { AppError, type WireError } from '@portico/shared/errors'
import type { ResponseRules } from './response-headers.ts'

export interface PortCall extends ResponseRules {
  readonly op: 'port.request' | 'port.socket'
  readonly sandbox: string
  readonly generation: number
  readonly port: number
  readonly method: string
  /** Path and query on the app. */
  readonly path: string
  readonly headers: HeaderList
  /** Sub-protocols that a WebSocket's caller offers. */
  readonly protocols: readonly string[]
  readonly request_id: string
  /** `whole`: the Worker has all of it, so nobody has to wait for it. */
  readonly body: 'none' | 'whole' | 'stream'
}

const callUrl = 'http://runner/port'
const callHeader = 'x-portico-port'
const outcomeHeader = 'x-portico-outcome'

/** What `fetch` takes for a call. */
export function portRequest(
  call: PortCall,
  body: ReadableStream | ArrayBuffer | null,
): [url: string, init: RequestInit] {
  const headers: Record<string, string> = { [callHeader]: ascii(call) }
  if (call.op === 'port.socket') return [callUrl, { headers: { ...headers, upgrade: 'websocket' } }]
  return [callUrl, body === null ? { headers } : { method: 'POST', headers, body }]
}

/** Whether a request to a runner's object is for a port. */
export function isPortCall(request: Request): boolean {
  return request.url === callUrl
}

export function readPortCall(request: Request): PortCall {
  return JSON.parse(request.headers.get(callHeader) ?? '') as PortCall
}

export function portFailure({ code, message }: WireError): Response {
  return Response.json({ code, message }, { headers: { [outcomeHeader]: 'error' } })
}

/** The app's answer, or our error thrown. */
export async function appAnswer(response: Response): Promise<Response> {
  if (response.headers.get(outcomeHeader) === null) return response
  throw AppError.fromWire(await response.json())
}

/** JSON that fits into a header. */
function ascii(value: unknown): string {
  return JSON.stringify(value).replaceAll(
    /[\u007f-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
