/** A caller's WebSocket and the object that takes it: checked here, joined there. */

import { AppError } from '@portico/shared/errors'
import type { KeyCall } from '../call.ts'
import { type Join, joinRequest } from '../console/join.ts'
import { consoleFetcher } from '../durable/objects.ts'
import { readAnswer } from '../guest/wire.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { sandboxOf } from './runs.ts'

/** Throws unless the request is a WebSocket's. */
export async function assertSocket(call: KeyCall, action: string): Promise<void> {
  if (call.request.headers.get('upgrade')?.toLowerCase() === 'websocket') return
  await assertMine(call)
  throw new AppError('invalid_request', `cannot ${action}: send a WebSocket upgrade`)
}

/** Hands the socket over. */
export async function joined(call: KeyCall, id: string, join: Join): Promise<Response> {
  const response = await reach('join the console', consoleFetcher(call.env, id).fetch(joinRequest(join)))
  if (response.status === 101) return response
  return await found(call, readAnswer(response))
}

/** What a console's object answers; where it does not know the console, somebody else's sandbox is answered as one that never was. */
export async function found<Value>(call: KeyCall, work: Promise<Value>): Promise<Value> {
  try {
    return await work
  } catch (thrown) {
    if (AppError.from(thrown).code === 'not_found') await assertMine(call)
    throw thrown
  }
}

/** Throws `sandbox_not_found` unless the path's sandbox is the caller's. */
async function assertMine(call: KeyCall): Promise<void> {
  unwrap(await reach('find the sandbox', sandboxOf(call).sandbox.read(call.principal)))
}

/** A whole number in the query, within bounds; undefined where it is not given. */
export function numberIn(url: URL, name: string, min: number, max: number): number | undefined {
  const text = url.searchParams.get(name)
  if (text === null) return undefined
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new AppError('invalid_request', `cannot read the request: ${name} must be a whole number from ${min} to ${max}`)
}
