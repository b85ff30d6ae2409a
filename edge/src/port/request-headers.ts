/**
 * A caller's headers as the app gets them: end to end ones only, who called told by us alone, nothing that is the platform's. The host comes
 * first. Pure.
 */

import type { PortHost } from '@portico/shared/api'
import type { HeaderList } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { withoutLinkCookies } from './links.ts'

export interface RequestRules {
  readonly port: number
  readonly host: PortHost
  readonly prefix: string
  /** The key that opened the port is the platform's, and stays here. */
  readonly hidesAuthorization: boolean
}

const dropped: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
  // The front door answers it by itself.
  'expect',
  'host',
  // Told anew, from what is sent.
  'content-length',
  'forwarded',
  'via',
  'x-real-ip',
  'true-client-ip',
  'cdn-loop',
])
const droppedBeginnings = ['x-forwarded-', 'x-portico-', 'cf-', 'sec-websocket-'] as const
/** An API key of this platform, whatever it was sent for. */
const ownKey = /^Bearer +portico_/i
const most = 256

/** The list for the runner; `length` is the body's, where it is known. */
export function requestHeaders(request: Request, rules: RequestRules, length: number | undefined): HeaderList {
  const { headers } = request
  const named = connectionNames(headers.get('connection'))
  const [, scheme = 'http', shownHost = ''] = /^(https?):\/\/([^/?#]*)/i.exec(request.url) ?? []
  const list: HeaderList = [['host', rules.host === 'public' ? shownHost : `localhost:${rules.port}`]]
  for (const [name, value] of headers) {
    if (dropped.has(name) || named.has(name) || droppedBeginnings.some((start) => name.startsWith(start))) continue
    if (name === 'authorization' && (rules.hidesAuthorization || ownKey.test(value))) continue
    const kept = name === 'cookie' ? withoutLinkCookies(value) : value
    if (kept !== '') list.push([name, byteText(kept)])
  }
  if (length !== undefined) list.push(['content-length', String(length)])
  const from = clientAddress(request)
  if (from !== undefined) list.push(['x-forwarded-for', from])
  list.push(['x-forwarded-proto', scheme.toLowerCase()], ['x-forwarded-host', shownHost])
  if (rules.prefix !== '') list.push(['x-forwarded-prefix', rules.prefix])
  if (list.length > most)
    throw new AppError('invalid_request', `cannot pass the request on: it has over ${most} headers`)
  return list
}

/** Whether the caller asks for a WebSocket. */
export function isSocketRequest(request: Request): boolean {
  return request.headers.get('upgrade')?.toLowerCase() === 'websocket'
}

/** Sub-protocols that the caller offers, in its order. */
export function offeredProtocols(request: Request): string[] {
  const offered = request.headers.get('sec-websocket-protocol') ?? ''
  return offered
    .split(',')
    .flatMap((one) => one.trim() || [])
    .slice(0, 32)
}

/** What `Connection` names is of one hop. */
function connectionNames(value: string | null): ReadonlySet<string> {
  return new Set(
    (value ?? '')
      .toLowerCase()
      .split(',')
      .map((name) => name.trim()),
  )
}

/** Told by the platform where it knows; without its own report of the connection the header is only what the caller wrote. */
function clientAddress(request: Request): string | undefined {
  if (request.cf === undefined || request.cf === null) return undefined
  return request.headers.get('cf-connecting-ip') ?? undefined
}

const encoder = new TextEncoder()

/** Each character stands for one byte, as in the runner's HTTP client. */
function byteText(value: string): string {
  return /^[\0-\u00ff]*$/.test(value) ? value : String.fromCharCode(...encoder.encode(value))
}
