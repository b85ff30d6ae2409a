/** `GET /v1/runs/{id}/files/watch?path=&recursive=`: changes as they happen, as server-sent events, or on a WebSocket where one is asked for. */

import type { SandboxCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { pathIn } from '../guest/named-path.ts'
import { eventsType, watchedAsEvents, watchedOnSocket } from '../guest/watching.ts'
import { outputHeaders } from '../process/follow.ts'
import { flagOf } from '../process/output-query.ts'
import { sandboxOf } from './runs.ts'

/** A tree is looked at whole before the first event. */
const beginMs = 120_000

export async function watchFiles(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const { searchParams } = call.url
  const path = pathIn(searchParams)
  const recursive = String(flagOf(searchParams, 'recursive', false))
  if (call.request.method === 'HEAD') {
    const query = new URLSearchParams({ ...path })
    await callGuest(call, id, { method: 'GET', path: `/files/stat?${query}`, waitMs: beginMs })
    return new Response(null, { headers: outputHeaders(eventsType) })
  }
  const query = new URLSearchParams({ ...path, recursive })
  const answer = await callGuest(call, id, { method: 'GET', path: `/files/watch?${query}`, waitMs: beginMs })
  const isSocket = call.request.headers.get('upgrade')?.toLowerCase() === 'websocket'
  return isSocket ? watchedOnSocket(call, id, answer) : watchedAsEvents(call, id, answer)
}
