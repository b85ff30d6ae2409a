/**
 * Frames of a worker's socket: JSON text. What comes is read once, here; what is no frame that concerns us is nothing, as clients send more than this
 * platform serves (functions and triggers of their own), and are not told of it.
 */

import { z } from 'zod'
import type { Trace } from './context.ts'
import type { InvocationError } from './errors.ts'

/** Of a frame in either direction. */
export const mostFrameBytes = 16_777_216
/** What a client names an invocation; the client of today sends a UUID. */
const invocationId = z.string().min(1).max(128)
const traceField = z.string().max(8192).optional().catch(undefined)

const invoke = z.object({
  type: z.literal('invokefunction'),
  invocation_id: invocationId.nullish(),
  function_id: z.string().min(1).max(512),
  data: z.unknown().optional(),
  action: z.object({ type: z.string() }).nullish(),
  traceparent: traceField,
  baggage: traceField,
})

const reattach = z.object({
  type: z.literal('reattach'),
  previous_worker_id: z.string().max(128),
  reattach_token: z.string().max(256),
})

const registerTrigger = z.object({
  type: z.literal('registertrigger'),
  id: z.string().max(512),
  trigger_type: z.string().max(512),
  function_id: z.string().max(512).optional(),
})

const frame = z.discriminatedUnion('type', [invoke, reattach, registerTrigger])
export type ClientFrame = z.output<typeof frame>
export type Invoke = z.output<typeof invoke>
export type RegisterTrigger = z.output<typeof registerTrigger>

/** What a client means, or the id of an invocation that cannot be read; undefined for all else. */
export function readFrame(text: string): ClientFrame | { type: 'unreadable'; id: string } | undefined {
  const value = parse(text)
  const parsed = frame.safeParse(value)
  if (parsed.success) return parsed.data
  const { type, invocation_id } = (value ?? {}) as Record<string, unknown>
  const id = invocationId.safeParse(invocation_id)
  return type === 'invokefunction' && id.success ? { type: 'unreadable', id: id.data } : undefined
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** How an invocation ended. */
export type Ending = { readonly result: unknown } | { readonly error: InvocationError }

/** The first frame that a client gets: with these two it finds its invocations again. */
export function registered(worker: string, token: string): string {
  return JSON.stringify({ type: 'workerregistered', worker_id: worker, reattach_token: token })
}

/** The answer to an invocation. */
export function answered(id: string, functionId: string, ending: Ending, trace: Trace): string {
  return JSON.stringify({ type: 'invocationresult', invocation_id: id, function_id: functionId, ...ending, ...trace })
}

/** No trigger is ever fired here, and its worker is told so. */
export function triggerRefused({ id, trigger_type, function_id }: RegisterTrigger): string {
  const error = { code: 'trigger_type_not_found', message: 'triggers are not served on this platform' }
  return JSON.stringify({ type: 'triggerregistrationresult', id, trigger_type, function_id, error })
}
