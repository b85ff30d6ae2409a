/**
 * Waiting for work with patience that ends before the work does: whoever waits is told to come again, and the work goes on for a while, so that
 * it is there when he does. A waiter that is aborted ends the work, as one without this does.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'

/** A little less than the edge waits for a create, so that a machine can still boot after it. */
const patienceMs = 280_000
/** How long the work goes on without anybody. */
const lingerMs = 10 * 60_000

/** The work's value; `late` is thrown when it takes too long. */
export async function patient<Value>(
  clock: Clock,
  signal: AbortSignal,
  late: AppError,
  begin: (signal: AbortSignal) => Promise<Value>,
): Promise<Value> {
  const work = new AbortController()
  const onAbort = () => work.abort(signal.reason)
  if (signal.aborted) onAbort()
  signal.addEventListener('abort', onAbort, { once: true })
  const value = begin(work.signal)
  const over = Promise.withResolvers<never>()
  let stopLingering = () => {}
  const stop = clock.after(patienceMs, () => {
    signal.removeEventListener('abort', onAbort)
    stopLingering = clock.after(lingerMs, () =>
      work.abort(new AppError('cancelled', 'cannot go on: nobody waits for it')),
    )
    over.reject(late)
  })
  value.catch(() => undefined).finally(() => stopLingering())
  try {
    return await Promise.race([value, over.promise])
  } finally {
    stop()
    signal.removeEventListener('abort', onAbort)
  }
}
