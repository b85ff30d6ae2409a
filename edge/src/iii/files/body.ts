/** Whole files of a sandbox, as far as they are small enough to be held. */

import { uploadResponse } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { KeyCall } from '../../call.ts'
import { callGuest } from '../../guest/call-guest.ts'
import { readAnswer } from '../../process/ask.ts'
import { joined, lengthOf } from '../../tunnel/bodies.ts'

/** How long the agent may take for a file once it has the body. */
const usualWaitMs = 60_000

/** All of the file; undefined if it has more than so many bytes. */
export async function readSmall(
  call: KeyCall,
  id: string,
  path: string,
  mostBytes: number,
): Promise<Uint8Array | undefined> {
  const asked = { method: 'GET', path: `/files?${new URLSearchParams({ path })}`, waitMs: usualWaitMs } as const
  const answer = await callGuest(call, id, asked)
  const parts: Uint8Array[] = []
  let length = 0
  for await (const bytes of (answer.body ?? []) as AsyncIterable<Uint8Array>) {
    length += bytes.byteLength
    // Leaving the loop cancels the body.
    if (length > mostBytes) return undefined
    parts.push(bytes)
  }
  // A body that breaks off ends as if it were whole.
  const announced = lengthOf(answer.headers.get('content-length'))
  if (announced !== undefined && announced !== length) {
    throw new AppError('guest_disconnected', 'cannot read the file: it broke off')
  }
  return joined(parts, length)
}

export interface Written {
  readonly path: string
  readonly mode?: string
  readonly waitMs?: number
  /** A stream is in the form of `guest/sealed-body.ts`. */
  readonly sealed?: boolean
}

/** Puts the bytes into the file, in one step: another file takes its place. Owner and, unless told, mode of one that was there stay. Answers its size. */
export async function writeFile(
  call: KeyCall,
  id: string,
  { path, mode, waitMs = usualWaitMs, sealed = false }: Written,
  content: Uint8Array | ReadableStream,
): Promise<number> {
  const query = new URLSearchParams({ path, ...(mode === undefined ? {} : { mode }) })
  const headers: Record<string, string> = { 'content-type': 'application/octet-stream' }
  if (content instanceof Uint8Array) headers['content-length'] = String(content.byteLength)
  const answer = await callGuest(call, id, {
    method: 'PUT',
    path: `/files?${query}`,
    headers,
    body: content instanceof Uint8Array ? streamOf(content) : content,
    waitMs,
    sealed,
  })
  return (await readAnswer(answer, uploadResponse)).size
}

function streamOf(bytes: Uint8Array): ReadableStream | null {
  return bytes.byteLength === 0 ? null : new Blob([bytes as Uint8Array<ArrayBuffer>]).stream()
}

/** The bytes as text, if they are UTF-8 without a zero byte. */
export function textOf(bytes: Uint8Array): string | undefined {
  if (bytes.includes(0)) return undefined
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
