/** A call is a stream whose heads are JSON: `{"op":…}` from the opener, `{"ok":true,…}` or `{"ok":false,"error":…}` from the acceptor. */

import type { z } from 'zod'
import { AppError, type WireError } from '../errors.ts'
import type { TunnelStream } from './types.ts'
import { abortError, pump, resetOnAbort } from './web.ts'

/** What every answer's schema tells apart. */
export type Answer =
  | { readonly ok: true }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } }

export interface CallOptions {
  /** Resets the stream when it aborts, also after the answer. */
  readonly signal: AbortSignal
  /** Sent after the head; without it the stream ends on this side at once. */
  readonly body?: Uint8Array | ReadableStream<Uint8Array> | undefined
}

export interface Called<Accepted> {
  readonly answer: Accepted
  /** The answer's body is read from it. */
  readonly stream: TunnelStream
}

/** What opens streams: a Muxer. */
export interface Opener {
  open(head?: Uint8Array): TunnelStream
}

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
const ignore = () => undefined

/** Makes a call and waits for its answer's head. Rejects with the acceptor's error if it refuses, and with the signal's reason. */
export async function call<Schema extends z.ZodType<Answer>>(
  opener: Opener,
  head: object,
  schema: Schema,
  { signal, body }: CallOptions,
): Promise<Called<Extract<z.output<Schema>, { ok: true }>>> {
  if (signal.aborted) throw abortError(signal)
  const stream = opener.open(encodeHead(head))
  resetOnAbort(stream, signal)
  sendBody(stream, body)
  const answer = parseAnswer(stream, await stream.head(), schema)
  if (!answer.ok) {
    stream.reset({ code: 'cancelled', message: 'cannot use more: the call was refused' })
    throw AppError.fromWire(answer.error)
  }
  return {
    answer: answer as Extract<z.output<Schema>, { ok: true }>,
    stream: body instanceof ReadableStream ? stopAtAnswerEnd(stream) : stream,
  }
}

/** The head of a call that a peer made. Throws `protocol_error` if it is not what the schema says. */
export function parseHead<Schema extends z.ZodType>(head: Uint8Array, schema: Schema): z.output<Schema> {
  let value: unknown
  try {
    value = JSON.parse(decoder.decode(head))
  } catch (cause) {
    throw new AppError('protocol_error', "cannot read the peer's call: its head is not JSON", { cause })
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue && issue.path.length > 0 ? ` at ${issue.path.join('.')}` : ''
  throw new AppError('protocol_error', `cannot read the peer's call: wrong head${where}`, { cause: parsed.error })
}

/** Accepts a call; `fields` go into its answer's head. The body is the caller's to write and end. */
export function answer(stream: TunnelStream, fields: object = {}): void {
  stream.accept(encodeHead({ ok: true, ...fields }))
}

/** Refuses a call that was not answered yet. */
export function refuse(stream: TunnelStream, error: WireError): void {
  stream.accept(encodeHead({ ok: false, error: { code: error.code, message: error.message } }))
  stream.end()
}

function encodeHead(head: object): Uint8Array {
  return encoder.encode(JSON.stringify(head))
}

function sendBody(stream: TunnelStream, body: CallOptions['body']): void {
  if (body instanceof ReadableStream) return void pump(body, stream).catch(ignore)
  // What goes wrong with the write is told by the stream's other calls.
  if (body) stream.write(body).catch(ignore)
  stream.end()
}

function parseAnswer<Schema extends z.ZodType<Answer>>(
  stream: TunnelStream,
  head: Uint8Array,
  schema: Schema,
): z.output<Schema> {
  try {
    return parseHead(head, schema)
  } catch (cause) {
    const error = AppError.from(cause)
    stream.reset(error)
    throw error
  }
}

/** The stream, reset when its answer is complete before the call's body is: nobody would read the rest. */
function stopAtAnswerEnd(stream: TunnelStream): TunnelStream {
  const read = async () => {
    const bytes = await stream.read()
    if (!bytes) stream.reset({ code: 'cancelled', message: 'cannot use more of the body: the answer is complete' })
    return bytes
  }
  return {
    id: stream.id,
    head: () => stream.head(),
    accept: (head) => stream.accept(head),
    read,
    write: (bytes) => stream.write(bytes),
    end: () => stream.end(),
    reset: (error) => stream.reset(error),
    get done() {
      return stream.done
    },
  }
}
