/** Which headers cross between a caller and a server in a sandbox, as lists, in their order. What belongs to one connection stays on it. */

import type { HeaderList } from '@portico/shared/control'
import { refused, unusable } from './faults.ts'

/** Of one answer. */
export const maxPortHeaders = 256

const hopByHop: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
])
/** `expect`: the body follows at once. The others are between the caller and the platform. */
const ofRequests: ReadonlySet<string> = new Set(['expect', 'proxy-authorization', 'http2-settings'])
const ofSockets: ReadonlySet<string> = new Set([
  'content-length',
  'sec-websocket-accept',
  'sec-websocket-extensions',
  'sec-websocket-key',
  'sec-websocket-protocol',
  'sec-websocket-version',
])

/** The head of a request, names and values in turn, with what tells its server how long the body is. */
export function requestHead(call: { method: string; headers: HeaderList; body: boolean; port: number }): string[] {
  const head: string[] = []
  let host = false
  let length: string | undefined
  for (const [name, value] of endToEnd(call.headers)) {
    if (ofRequests.has(name)) continue
    if (name === 'content-length') {
      if (length !== undefined && length !== value) throw refused('its length is told twice')
      length = value
      continue
    }
    if (name === 'host') {
      if (host) throw refused('it has two hosts')
      host = true
    }
    head.push(name, wire(value))
  }
  if (!host) head.unshift('host', `localhost:${call.port}`)
  if (call.body) {
    if (length === undefined) head.push('transfer-encoding', 'chunked')
    else if (/^\d{1,16}$/.test(length)) head.push('content-length', length)
    else throw refused('its length is no number')
  } else if (expectsBody.has(call.method)) head.push('content-length', '0')
  head.push('connection', 'keep-alive')
  return head
}

/** The headers of a WebSocket's upgrade, by name. */
export function socketHead(call: { headers: HeaderList; port: number }): Record<string, string | string[]> {
  const head: Record<string, string | string[]> = { host: `localhost:${call.port}` }
  const lists = new Map<string, string[]>()
  for (const [name, value] of endToEnd(call.headers)) {
    if (ofRequests.has(name) || ofSockets.has(name)) continue
    const list = lists.get(name) ?? []
    list.push(wire(value))
    lists.set(name, list)
  }
  for (const [name, list] of lists) head[name] = list.length === 1 ? (list[0] as string) : list
  return head
}

/** The headers of a server's answer, from Node's flat list of names and values. */
export function answerHeaders(raw: readonly string[], without?: ReadonlySet<string>): HeaderList {
  if (raw.length > 2 * maxPortHeaders) throw unusable('it has too many headers')
  const list: HeaderList = []
  for (let index = 0; index + 1 < raw.length; index += 2)
    list.push([(raw[index] as string).toLowerCase(), raw[index + 1] as string])
  const kept = endToEnd(list)
  return without ? kept.filter(([name]) => !without.has(name)) : kept
}

/** Of the answer to an upgrade: what only the two ends of that WebSocket agree on. */
export const handshakeHeaders: ReadonlySet<string> = ofSockets

const expectsBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** Without what belongs to one connection, by its name or because `connection` lists it. */
function endToEnd(headers: HeaderList): HeaderList {
  let listed: Set<string> | undefined
  for (const [name, value] of headers) {
    if (name !== 'connection') continue
    listed ??= new Set()
    for (const one of value.split(',')) listed.add(one.trim().toLowerCase())
  }
  return headers.filter(([name]) => !hopByHop.has(name) && !listed?.has(name))
}

/** What HTTP carries: bytes, each as one character. */
function wire(value: string): string {
  return /[^\0-\xff]/.test(value) ? Buffer.from(value, 'utf8').toString('latin1') : value
}
