/** `/v1/runs/{id}/files…`: files of the sandbox, streamed both ways. Paths are the guest's: dots in them lead nowhere else. */

import type { FileList } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { guestFileList } from '@portico/shared/guest'
import { z } from 'zod'
import { noteCall } from '../audit/calls.ts'
import type { KeyCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { sandboxOf } from './runs.ts'

const uploaded = z.object({ size: z.number() })

/** How long the agent may take for a file once it has the body. */
const waitMs = 60_000
/** A listing is checked and changed, so it is held whole, up to this size. */
const maxListing = 16_777_216

/** `POST` or `PUT /v1/runs/{id}/files/upload?path=&mode=` */
export async function upload(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const mode = modeOf(call.url)
  const length = call.request.headers.get('content-length')
  const path = pathOf(call.url)
  const query = new URLSearchParams({ path, ...(mode === undefined ? {} : { mode }) })
  const headers = {
    'content-type': 'application/octet-stream',
    ...(call.request.body === null ? { 'content-length': '0' } : {}),
    ...(length === null ? {} : { 'content-length': length }),
  }
  const { body } = call.request
  const answer = await callGuest(call, id, { method: 'PUT', path: `/files?${query}`, headers, body, waitMs })
  const told = await answer.text()
  noteCall(call, id, 'file.uploaded', { path, bytes: sizeOf(told) ?? (length === null ? null : Number(length)) })
  return new Response(told, { headers: { 'content-type': 'application/json' } })
}

/** `GET /v1/runs/{id}/files/download?path=` */
export async function download(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const path = pathOf(call.url)
  const query = new URLSearchParams({ path })
  const range = call.request.headers.get('range')
  const method = call.request.method === 'HEAD' ? 'HEAD' : 'GET'
  const headers: Record<string, string> = range === null ? {} : { range }
  const answer = await callGuest(call, id, { method, path: `/files?${query}`, headers, waitMs })
  if (method === 'GET') noteCall(call, id, 'file.downloaded', { path })
  return new Response(answer.body, { status: answer.status, headers: fileHeaders(answer.headers) })
}

/** `GET /v1/runs/{id}/files?path=` */
export async function list(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const query = new URLSearchParams({ path: pathOf(call.url) })
  const answer = await callGuest(call, id, { method: 'GET', path: `/files/list?${query}`, waitMs })
  const listing = guestFileList.safeParse(await readListing(answer))
  if (!listing.success) throw new AppError('guest_error', 'cannot list the directory: the sandbox answered nonsense')
  const { path, entries } = listing.data
  return Response.json({ path, entries: entries.map(({ name }) => name), details: entries } satisfies FileList)
}

/** What a guest says about a file's type is not repeated: it is bytes, and no browser shall run them as a page of ours. */
function fileHeaders(from: Headers): Headers {
  const headers = new Headers({ 'content-type': 'application/octet-stream', 'x-content-type-options': 'nosniff' })
  for (const name of ['content-length', 'content-range', 'accept-ranges', 'last-modified', 'etag']) {
    const value = from.get(name)
    if (value !== null) headers.set(name, value)
  }
  return headers
}

function pathOf(url: URL): string {
  const path = url.searchParams.get('path') ?? ''
  if (path.startsWith('/') && !path.includes('\0')) return path
  const why = path === '' ? 'the query has no path' : 'it is not absolute'
  throw new AppError('invalid_path', `cannot use the path: ${why}`)
}

/** How many bytes the agent says that it wrote. */
function sizeOf(told: string): number | null {
  try {
    return uploaded.parse(JSON.parse(told)).size
  } catch {
    return null
  }
}

function modeOf(url: URL): string | undefined {
  const mode = url.searchParams.get('mode')
  if (mode === null) return undefined
  if (/^0?[0-7]{3,4}$/.test(mode)) return mode
  throw new AppError('invalid_request', 'cannot use the mode: it has three or four octal digits, such as 755')
}

async function readListing(answer: Response): Promise<unknown> {
  const parts: string[] = []
  let length = 0
  const decoder = new TextDecoder()
  for await (const bytes of answer.body ?? []) {
    length += bytes.byteLength
    if (length > maxListing) throw new AppError('guest_error', 'cannot list the directory: it has too many entries')
    parts.push(decoder.decode(bytes, { stream: true }))
  }
  try {
    return JSON.parse(parts.join('') + decoder.decode())
  } catch {
    return undefined
  }
}
