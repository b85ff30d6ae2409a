/**
 * `/iii…`: where iii clients connect. A key comes in the header, or stands in the path, as a client sends its headers with the first of its sockets alone.
 * Paths are never logged, and the key goes no further than the gate.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { bearer } from '../auth/gate.ts'
import { parseToken } from '../auth/tokens.ts'
import type { Call, KeyCall } from '../call.ts'
import { iiiFetcher } from '../durable/objects.ts'
import { readAnswer } from '../guest/wire.ts'
import { reach } from '../platform-errors.ts'
import { none, type Row, row } from '../routes/row.ts'
import { channelRows } from './channels/rows.ts'
import { workerRequest } from './join.ts'

/** A worker's socket. */
async function worker(call: Call<'key'>): Promise<Response> {
  assertSocket(call)
  const { env, principal: caller, request, url, parameter } = call
  const text = bearer(request) ?? (parameter('key') || url.searchParams.get('token')) ?? ''
  const token = parseToken('key', text)
  if (token === undefined) throw new AppError('unauthorized', 'cannot enter: the API key is wrong or revoked')
  const joined = iiiFetcher(env, caller).fetch(workerRequest({ caller, key: token.id }))
  const response = await reach('join as a worker', joined)
  return response.status === 101 ? response : await readAnswer(response)
}

/** A client's telemetry: taken, so that the client is content, and dropped. It says nothing that anybody here would look at. */
async function telemetry(call: Call): Promise<Response> {
  assertSocket(call)
  const { 0: client, 1: server } = new WebSocketPair()
  server.binaryType = 'arraybuffer'
  server.accept()
  discard(server, call.services.clock)
  return new Response(null, { status: 101, webSocket: client })
}

/** Anybody may come in here, so nobody stays for good. */
export function discard(socket: Pick<WebSocket, 'addEventListener' | 'close'>, clock: Clock): void {
  const close = (code: number, reason: string) => {
    stop()
    try {
      socket.close(code, reason)
    } catch {
      // It is closed.
    }
  }
  const stop = clock.after(longestTelemetryMs, () => close(1001, 'come again'))
  socket.addEventListener('message', ({ data }) => {
    const length = typeof data === 'string' ? data.length : (data as ArrayBuffer).byteLength
    if (length > mostTelemetry) close(1009, 'the frame is too long')
  })
  socket.addEventListener('close', () => close(1000, ''))
  socket.addEventListener('error', () => close(1011, ''))
}

const longestTelemetryMs = 3_600_000
const mostTelemetry = 1_048_576

function assertSocket({ request }: KeyCall | Call): void {
  if (request.headers.get('upgrade')?.toLowerCase() === 'websocket') return
  throw new AppError('invalid_request', 'cannot connect: send a WebSocket upgrade')
}

const common = { methods: ['GET'], body: none } as const
const byKey = { ...common, access: 'key', needs: 'read' } as const

export const iiiRows: readonly Row[] = [
  row({ ...byKey, path: '/iii', token: 'key', handle: worker }),
  // Without its headers a client has no key to show here, and there is nothing here that one would open.
  row({ ...common, path: '/iii/otel', access: 'public', needs: null, handle: telemetry }),
  row({ ...byKey, path: '/iii/:key', token: 'path', handle: worker }),
  row({ ...byKey, path: '/iii/:key/otel', token: 'path', handle: telemetry }),
  ...channelRows,
]
