/**
 * `/iii…`: where iii clients connect. A key comes in the header, or stands in the path, as a client sends its headers with the first of its sockets alone.
 * Paths are never logged, and the key goes no further than the gate.
 */

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
  server.accept()
  server.addEventListener('close', () => {
    try {
      server.close(1000, '')
    } catch {
      // It is closed.
    }
  })
  return new Response(null, { status: 101, webSocket: client })
}

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
