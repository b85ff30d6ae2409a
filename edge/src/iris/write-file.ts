/** `POST /v1/files?path=` on a sandbox's own host: a small file, whole. Directories above it are made. */

import { irisMaxWriteBytes } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { noteCall } from '../audit/calls.ts'
import type { SandboxCall } from '../call.ts'
import { callGuest } from '../guest/call-guest.ts'
import { pathIn } from '../guest/named-path.ts'
import { readBytes } from '../middleware/json-body.ts'
import { sandboxOf } from '../routes/runs.ts'

const waitMs = 60_000

export async function writeFile(call: SandboxCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const path = pathIn(call.url.searchParams)
  const mode = call.request.headers.get('x-file-mode')
  if (mode !== null && !/^0?[0-7]{3,4}$/.test(mode)) {
    const why = 'x-file-mode has three or four octal digits, such as 755'
    throw new AppError('invalid_request', `cannot use the mode: ${why}`)
  }
  const bytes = await readBytes(call.request, irisMaxWriteBytes)
  const query = new URLSearchParams({ ...path, ...(mode === null ? {} : { mode }) })
  const headers = { 'content-type': 'application/octet-stream', 'content-length': String(bytes.byteLength) }
  const body = bytes.byteLength === 0 ? null : new Blob([bytes]).stream()
  const answer = await callGuest(call, id, { method: 'PUT', path: `/files?${query}`, headers, body, waitMs })
  await answer.body?.cancel()
  noteCall(call, id, 'file.uploaded', { ...path, bytes: bytes.byteLength })
  return Response.json({ ok: true, ...path, size: bytes.byteLength })
}
