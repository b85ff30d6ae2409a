/**
 * One HTTP call: its limit, repeats where they are safe, and an answer that has been checked or an IrisError. Whose token it carries is the caller's
 * matter. A call is repeated if it says `repeatable` and the error `retryable`; one that was refused for its rate alone did nothing, and is repeated, too.
 */

import { Backoff } from '@portico/shared/backoff'
import { sleep } from '@portico/shared/clock'
import { abortable } from '@portico/shared/dispose'
import type { z } from 'zod'
import { longestWaitMs, retries } from '../limits.ts'
import { IrisError, refused, unreachable, unreadable } from './errors.ts'
import { reaching } from './loopback.ts'

/** What every call takes. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
}

/** One call, without its address. */
export interface Call extends CallOptions {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  /** Path and query. */
  readonly path: string
  /** Completes "cannot …" in its errors. */
  readonly doing: string
  /** From the first try to the last byte of the answer. */
  readonly limitMs: number
  readonly json?: unknown
  readonly bytes?: string | Uint8Array | Blob | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly repeatable?: boolean
}

/** Sends a request and reads the whole answer. */
export type Send = (call: Call, origin: string, token: string) => Promise<Answer>

/** An answer of 200–299. */
export interface Answer {
  readonly response: Response
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** A sender over the runtime's `fetch`, or another. */
export function sender(given: typeof fetch | undefined): Send {
  const send: typeof fetch = given ?? ((input, init) => fetch(input, init))
  const extra = given === undefined ? reaching() : {}
  return async (call, origin, token) => {
    const limit = limited(call)
    try {
      return await repeated(call, limit.signal, () => once(send, extra, call, origin, token, limit.signal))
    } finally {
      limit.end()
    }
  }
}

/** The JSON of an answer as `schema` has checked it. */
export function checked<Schema extends z.ZodType>({ response, bytes }: Answer, doing: string, schema: Schema) {
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw unreadable(response, doing, 'not JSON', cause)
  }
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  throw unreadable(response, doing, `${issue?.path.join('.') || 'it'}: ${issue?.message ?? 'wrong'}`, result.error)
}

async function repeated(call: Call, signal: AbortSignal, step: () => Promise<Answer>): Promise<Answer> {
  const backoff = new Backoff(retries)
  for (let left: number = retries.tries - 1; ; left--) {
    try {
      return await step()
    } catch (error) {
      const again = error instanceof IrisError && error.retryable && (call.repeatable || error.status === 429)
      if (!again || left === 0) throw error
      await sleep(Math.min(backoff.next(), longestWaitMs), signal)
    }
  }
}

async function once(
  send: typeof fetch,
  extra: object,
  call: Call,
  origin: string,
  token: string,
  signal: AbortSignal,
): Promise<Answer> {
  signal.throwIfAborted()
  const headers: Record<string, string> = { authorization: `Bearer ${token}`, ...call.headers }
  const init: RequestInit = { method: call.method, headers, redirect: 'manual', signal, ...extra }
  if (call.json !== undefined) {
    headers['content-type'] = 'application/json'
    init.body = JSON.stringify(call.json)
  } else if (call.bytes !== undefined) {
    headers['content-type'] = 'application/octet-stream'
    init.body = call.bytes as NonNullable<RequestInit['body']>
  }
  const exchange = async (): Promise<Answer | IrisError> => {
    const response = await send(origin + call.path, init)
    if (!response.ok) return await refused(response, call.doing)
    return { response, bytes: new Uint8Array(await response.arrayBuffer()) }
  }
  let outcome: Answer | IrisError
  try {
    // Raced, as a fetch that the program brought along may not listen to the signal.
    outcome = await abortable(exchange(), signal)
  } catch (cause) {
    throw signal.aborted ? signal.reason : unreachable(origin, call.doing, cause)
  }
  if (outcome instanceof IrisError) throw outcome
  return outcome
}

/** A signal that aborts with the caller's or when the call's limit has passed. */
function limited({ signal, limitMs, doing }: Call): { readonly signal: AbortSignal; end(): void } {
  const own = new AbortController()
  const late = () => {
    const message = `cannot ${doing}: no answer within ${Math.round(limitMs / 1000)} s`
    own.abort(new IrisError({ message, status: 0, code: 'deadline_exceeded', retryable: true }))
  }
  const timer = setTimeout(late, Math.min(limitMs, 2 ** 31 - 1))
  const onAbort = () => own.abort(signal?.reason)
  if (signal?.aborted) onAbort()
  else signal?.addEventListener('abort', onAbort, { once: true })
  const end = () => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  }
  return { signal: own.signal, end }
}
