/** `/v1/runs/{id}/files…`: files of the sandbox, streamed both ways, and what there is of them. */

import {
  type FileExists,
  type FileList,
  type FileStat,
  type FileTree,
  fileExists,
  fileStat,
  fileTree,
  type SearchResult,
  type searchRequest,
  searchResult,
} from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { guestFileList } from '@portico/shared/guest'
import { z } from 'zod'
import { noteCall } from '../audit/calls.ts'
import type { SandboxCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { type NamedPath, namedPath, pathIn } from '../guest/named-path.ts'
import { askGuest, readText } from '../process/ask.ts'
import { numberIn } from './joined.ts'
import { sandboxOf } from './runs.ts'

const uploaded = z.object({ size: z.number() })
/** What the agent says of a tree: `deeper`, that something stands below what was asked for. */
const guestTree = fileTree.extend({ deeper: z.boolean().default(false) })

/** How long the agent may take for a file once it has the body. */
const waitMs = 60_000
const usualDepth = 1
const mostDepth = 1000
const usualEntries = 10_000
const mostEntries = 100_000

/** `POST` or `PUT /v1/runs/{id}/files/upload?path=&mode=&owner=&group=` */
export async function upload(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const { url } = call
  const path = pathIn(url.searchParams)
  const mode = modeOf(url)
  const [owner, group] = ['owner', 'group'].map((name) => url.searchParams.get(name))
  const query = new URLSearchParams({
    ...path,
    ...(mode === undefined ? {} : { mode }),
    ...(owner == null ? {} : { owner }),
    ...(group == null ? {} : { group }),
  })
  const length = call.request.headers.get('content-length')
  const headers = bodyHeaders(call.request)
  const { body } = call.request
  const answer = await callGuest(call, id, { method: 'PUT', path: `/files?${query}`, headers, body, waitMs })
  const told = await readText(answer)
  noteCall(call, id, 'file.uploaded', { ...path, bytes: sizeOf(told) ?? (length === null ? null : Number(length)) })
  return new Response(told, { headers: { 'content-type': 'application/json' } })
}

/** `GET /v1/runs/{id}/files/download?path=` */
export async function download(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const path = pathIn(call.url.searchParams)
  const query = new URLSearchParams({ ...path })
  const method = call.request.method === 'HEAD' ? 'HEAD' : 'GET'
  const asked = call.request.headers
  const headers = Object.fromEntries(
    ['range', 'if-range'].flatMap((name) => {
      const value = asked.get(name)
      return value === null ? [] : [[name, value]]
    }),
  )
  const answer = await callGuest(call, id, { method, path: `/files?${query}`, headers, waitMs })
  if (method === 'GET') noteCall(call, id, 'file.downloaded', { ...path })
  return new Response(answer.body, { status: answer.status, headers: fileHeaders(answer.headers) })
}

/** `GET /v1/runs/{id}/files?path=` */
export async function list(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const question = { method: 'GET', path: `/files/list?${pathQuery(call)}`, waitMs } as const
  const { path, entries } = await askGuest(call, id, question, guestFileList)
  return Response.json({ path, entries: entries.map(({ name }) => name), details: entries } satisfies FileList)
}

/** `GET /v1/runs/{id}/files/list?path=&depth=&limit=` */
export async function listTree(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const depth = numberIn(call.url, 'depth', 1, mostDepth) ?? usualDepth
  const limit = numberIn(call.url, 'limit', 1, mostEntries) ?? usualEntries
  const query = new URLSearchParams({ ...pathIn(call.url.searchParams), depth: String(depth), limit: String(limit) })
  const tree = await askGuest(call, id, { method: 'GET', path: `/files/list?${query}`, waitMs }, guestTree)
  const { path, entries, truncated, deeper } = tree
  return Response.json({ path, entries, truncated: truncated || deeper } satisfies FileTree)
}

/** `GET /v1/runs/{id}/files/stat?path=` */
export async function stat(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const question = { method: 'GET', path: `/files/stat?${pathQuery(call)}`, waitMs } as const
  return Response.json((await askGuest(call, id, question, fileStat)) satisfies FileStat)
}

/** `GET /v1/runs/{id}/files/exists?path=` */
export async function exists(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const question = { method: 'GET', path: `/files/exists?${pathQuery(call)}`, waitMs } as const
  return Response.json((await askGuest(call, id, question, fileExists)) satisfies FileExists)
}

/** `POST /v1/runs/{id}/files/search` */
export async function search(call: SandboxCall<z.output<typeof searchRequest>>): Promise<Response> {
  const { id } = sandboxOf(call)
  const { path, path_base64, ...wanted } = call.body
  const json = { ...namedPath(path, path_base64, 'path'), ...wanted }
  const question = { method: 'POST', path: '/files/search', json, waitMs } as const
  return Response.json((await askGuest(call, id, question, searchResult)) satisfies SearchResult)
}

/** Of a body that is passed on as it comes. */
export function bodyHeaders({ body, headers }: Request): Record<string, string> {
  const length = body === null ? '0' : headers.get('content-length')
  return { 'content-type': 'application/octet-stream', ...(length === null ? {} : { 'content-length': length }) }
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

function pathQuery(call: SandboxCall): URLSearchParams {
  const named: NamedPath = pathIn(call.url.searchParams)
  return new URLSearchParams({ ...named })
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
