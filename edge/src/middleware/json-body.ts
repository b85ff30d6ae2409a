/** JSON bodies: their size is refused by the header where it is told and by counting where it is not, and what is wrong is said with its place. */

import { AppError } from '@portico/shared/errors'
import type { z } from 'zod'
import { pieces } from '../body.ts'
import { whereJsonBreaks } from './json-position.ts'

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false })

interface JsonRule {
  readonly schema: z.ZodType
  readonly maxBytes: number
  /** No body stands for an empty object. */
  readonly mayBeEmpty: boolean
}

/** The body as the schema's value. */
export async function readJson(request: Request, { schema, maxBytes, mayBeEmpty }: JsonRule): Promise<unknown> {
  const bytes = await readBytes(request, maxBytes)
  const parsed = schema.safeParse(mayBeEmpty && bytes.byteLength === 0 ? {} : parse(decode(bytes)))
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue === undefined || issue.path.length === 0 ? 'the body' : issue.path.join('.')
  throw new AppError('invalid_request', `cannot read the request: ${where}: ${issue?.message ?? 'it is not valid'}`)
}

/** The whole body, of at most so many bytes. */
export async function readBytes(request: Request, maxBytes: number): Promise<Uint8Array> {
  const told = request.headers.get('content-length')
  if (told !== null && Number(told) > maxBytes) throw tooLarge(maxBytes)
  if (told !== null) return new Uint8Array(await request.arrayBuffer())
  if (request.body === null) return new Uint8Array()
  const parts: Uint8Array[] = []
  let length = 0
  for await (const piece of pieces(request.body)) {
    length += piece.byteLength
    if (length > maxBytes) throw tooLarge(maxBytes)
    parts.push(piece)
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

function decode(bytes: Uint8Array): string {
  if (bytes.byteLength === 0) throw new AppError('invalid_json', 'cannot read the request: the body is empty')
  try {
    return decoder.decode(bytes)
  } catch {
    throw new AppError('invalid_json', 'cannot read the request: the body is not UTF-8')
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    const { line, column, found } = whereJsonBreaks(text)
    throw new AppError('invalid_json', `cannot read the request: not JSON at line ${line}, column ${column}: ${found}`)
  }
}

function tooLarge(maxBytes: number): AppError {
  return new AppError('payload_too_large', `cannot read the request: its body is over ${maxBytes} bytes`)
}
