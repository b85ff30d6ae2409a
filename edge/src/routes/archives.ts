/** `/v1/runs/{id}/files/archive`: a directory as a tar, streamed both ways. */

import { archiveUnpacked } from '@portico/shared/api'
import { noteCall } from '../audit/calls.ts'
import type { SandboxCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { pathIn } from '../guest/named-path.ts'
import { readAnswer } from '../process/ask.ts'
import { outputHeaders } from '../process/follow.ts'
import { bodyHeaders } from './files.ts'
import { sandboxOf } from './runs.ts'

/** A first look at the directory. */
const beginMs = 60_000
/** What came up may take its time to be laid down. */
const unpackMs = 600_000

/** `GET /v1/runs/{id}/files/archive?path=` */
export async function downloadArchive(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const path = pathIn(call.url.searchParams)
  const query = new URLSearchParams({ ...path })
  const headers = outputHeaders('application/x-tar')
  if (call.request.method === 'HEAD') {
    await callGuest(call, id, { method: 'GET', path: `/files/stat?${query}`, waitMs: beginMs })
    return new Response(null, { headers })
  }
  const answer = await callGuest(call, id, { method: 'GET', path: `/files/archive?${query}`, waitMs: beginMs })
  noteCall(call, id, 'file.downloaded', { ...path, archive: true })
  return new Response(answer.body, { headers })
}

/** `PUT /v1/runs/{id}/files/archive?path=` */
export async function uploadArchive(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const path = pathIn(call.url.searchParams)
  const query = new URLSearchParams({ ...path })
  const headers = bodyHeaders(call.request)
  const { body } = call.request
  const asked = { method: 'PUT', path: `/files/archive?${query}`, headers, body, waitMs: unpackMs } as const
  const done = await readAnswer(await callGuest(call, id, asked), archiveUnpacked)
  noteCall(call, id, 'file.uploaded', { ...path, archive: true, entries: done.entries, bytes: done.bytes })
  return Response.json(done)
}
