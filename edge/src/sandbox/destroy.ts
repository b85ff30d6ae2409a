/**
 * Ending a sandbox. From the moment it is asked for nobody can use the sandbox; it is over when its runner has confirmed, or no longer
 * knows it. A runner that cannot be reached is asked again by the alarm, at longer and longer intervals, for a day.
 */

import { AppError } from '@portico/shared/errors'
import { request } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import { reach } from '../platform-errors.ts'
import { type Caller, type Ended, isGone } from '../ports.ts'
import { type Life, notFound } from './life.ts'
import { lastKnownUsage, publicRecord, type SandboxRecord } from './record.ts'

const firstRetryMs = 5_000
const longestRetryMs = 300_000
const mostTries = 300
/** Longer than any wait for the runner's answer. */
const answerLimitMs = 60_000

/** Destroys the sandbox for its owner. Two at once share one end; later ones find nothing. */
export async function destroy(life: Life, caller: Caller): Promise<Ended> {
  const record = life.mine(caller)
  // Nothing of it is left that could be ended; its owner learns what it used.
  if (record.state === 'lost') return { record: publicRecord(record), usage: lastKnownUsage(record, life.clock.now()) }
  startDestroy(life, null)
  return finishDestroy(life)
}

/** Moves to `destroying`, unless it is already on its way. */
export function startDestroy(life: Life, reason: string | null): void {
  const verdict = request(life.known.state, 'destroy')
  if (verdict.kind !== 'accepted') return
  life.change({ state: verdict.next, reason, retryAt: life.clock.now() + answerLimitMs })
}

/** Has the runner end it and keeps the final usage. Throws if the runner could not be asked; the alarm goes on then. */
export function finishDestroy(life: Life): Promise<Ended> {
  return life.once('destroy', async () => {
    try {
      const record = life.end(await endOnRunner(life))
      giveBackPlace(life, record)
      if (record.usage === null) throw notFound()
      return { record: publicRecord(record), usage: record.usage }
    } finally {
      await life.publish()
    }
  })
}

async function endOnRunner(life: Life): Promise<Usage> {
  const { id, runner, generation } = life.known
  if (runner === null) return lastKnownUsage(life.known, life.clock.now())
  const call = reach('destroy the sandbox', life.objects.runner(runner).destroy(id, generation))
  const answer = await call.catch((thrown) => {
    throw retryLater(life, AppError.from(thrown))
  })
  if (answer.ok) return answer.value
  if (isGone(answer) || life.known.state === 'destroyed') return lastKnownUsage(life.known, life.clock.now())
  throw retryLater(life, AppError.fromWire(answer.error))
}

function retryLater(life: Life, error: AppError): AppError {
  if (life.known.state !== 'destroying') return error
  const tries = life.known.failedDestroys + 1
  if (tries >= mostTries) {
    life.end(lastKnownUsage(life.known, life.clock.now()), 'its runner did not come back')
    return error
  }
  const wait = Math.min(longestRetryMs, firstRetryMs * 2 ** Math.min(tries - 1, 10))
  life.change({ failedDestroys: tries, retryAt: life.clock.now() + wait })
  return error
}

/** A sandbox that ends young may still hold a promise in its region. */
function giveBackPlace(life: Life, record: SandboxRecord): void {
  if (life.clock.now() - record.createdAt > 600_000) return
  life.inBackground('give the place back', life.objects.region(record.region).release(record.id))
}
