/** Control calls to a runner: a head, an answer's head, no bodies. Each has a limit, and its end says how far it came. */

import type { Clock } from '@portico/shared/clock'
import type { EdgeCall } from '@portico/shared/control'
import { answers } from '@portico/shared/control'
import { AppError, type WireError } from '@portico/shared/errors'
import { type Answer, parseHead, type TunnelStream } from '@portico/shared/tunnel'
import type { z } from 'zod'
import type { CallOutcome, Reached } from '../ports.ts'
import type { Session } from './sessions.ts'

type Op = Exclude<EdgeCall['op'], 'guest.request' | 'image.pull' | 'port.request' | 'port.socket'>
type CallOf<Name extends Op> = Extract<EdgeCall, { op: Name }>
type Accepted<Name extends Op> = Extract<z.output<(typeof answers)[Name]>, { ok: true }>

/** How long a runner may take. A boot may be tried twice, and an image that the runner does not have yet is pulled first. */
const limits: Record<Op, number> = {
  'sandbox.create': 330_000,
  'sandbox.restore': 100_000,
  'sandbox.fork': 100_000,
  'sandbox.snapshot': 100_000,
  'sandbox.hibernate': 60_000,
  'sandbox.resume': 60_000,
  'snapshot.delete': 30_000,
  'sandbox.update': 10_000,
  'sandbox.destroy': 30_000,
  'sandbox.stats': 10_000,
  'checkpoint.create': 120_000,
  'checkpoint.list': 10_000,
  'checkpoint.wait': 600_000,
  // The services of that moment may take their time to start: the runner gives up after 360 s.
  'checkpoint.restore': 400_000,
  'checkpoint.delete': 30_000,
  'guest.image': 600_000,
  'image.list': 10_000,
  'image.remove': 60_000,
}

const encoder = new TextEncoder()

/** Makes the call on the session in force, if there is one. */
export async function ask<Name extends Op>(
  session: Session | undefined,
  op: Name,
  call: Omit<CallOf<Name>, 'op'>,
  clock: Clock,
): Promise<CallOutcome<Accepted<Name>>> {
  if (session === undefined) return failed('not_sent', notConnected())
  const opened = open(session, { op, ...call })
  if (opened instanceof AppError) return failed('not_sent', opened)
  const limit = limits[op]
  const stop = clock.after(limit, () =>
    opened.reset({ code: 'deadline', message: `cannot finish ${op}: the runner did not answer within ${limit} ms` }),
  )
  try {
    const answer = parseHead(await opened.head(), answers[op] as z.ZodType<Answer>)
    if (!answer.ok) return failed('answered', AppError.fromWire(answer.error))
    return { ok: true, value: answer as unknown as Accepted<Name> }
  } catch (thrown) {
    return failed('unknown', AppError.from(thrown))
  } finally {
    stop()
    opened.reset({ code: 'cancelled', message: 'cannot use more: the call is over' })
  }
}

/** No tunnel is in force. */
export function notConnected(): AppError {
  return new AppError('runner_disconnected', 'cannot reach the sandbox: its runner is not connected')
}

function open(session: Session, call: object): TunnelStream | AppError {
  try {
    const stream = session.muxer.open(encoder.encode(JSON.stringify(call)))
    stream.end()
    return stream
  } catch (thrown) {
    return AppError.from(thrown)
  }
}

function failed(reached: Reached, error: WireError): { ok: false; error: WireError; reached: Reached } {
  return { ok: false, error: { code: error.code, message: error.message }, reached }
}
