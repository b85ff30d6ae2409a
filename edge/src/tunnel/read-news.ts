/** The whole of what a runner tells: a head, and the list of a status that is too long for it. */

import type { Clock } from '@portico/shared/clock'
import { type RunnerNews, readStatus, runnerCall } from '@portico/shared/control'
import { parseHead, type TunnelStream } from '@portico/shared/tunnel'

/** How long a status may take to arrive: as long as its runner waits for the answer. */
export const statusLimitMs = 10_000

/** Reads it; the timer also keeps an object awake between two messages of a body. */
export async function readNews(stream: TunnelStream, head: Uint8Array, clock: Clock): Promise<RunnerNews> {
  const call = parseHead(head, runnerCall)
  if (call.op === 'sandbox.event') return call
  const why = `cannot take the status: it did not arrive within ${statusLimitMs} ms`
  const stop = clock.after(statusLimitMs, () => stream.reset({ code: 'deadline', message: why }))
  return await readStatus(call, stream).finally(stop)
}
