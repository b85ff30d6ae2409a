/** The end of a sandbox whose runner the operator gave up: it used what is known up to the last moment that the runner confirmed, and it ended then. */

import { after, isFinal } from '@portico/shared/lifecycle'
import { finishDestroy, startDestroy } from './destroy.ts'
import type { Life } from './life.ts'
import { lastKnownUsage } from './record.ts'

const reason = 'its runner was given up'

/** Its runner will not come back. */
export async function loseForGood(life: Life, runner: string, generation: number, confirmedAt: number): Promise<void> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation }) || isFinal(record.state)) return
  // Nobody ever got one that was not ready; a call that still waits for it finds that it is being destroyed.
  if (record.state === 'creating') startDestroy(life, reason)
  if (life.known.state === 'destroying') {
    life.inBackground('destroy the sandbox', finishDestroy(life))
    return
  }
  const endedAt = Math.max(record.createdAt, confirmedAt)
  const usage = lastKnownUsage(record, endedAt)
  const over = { runningSince: null, retryAt: null, unreachableSince: null, endedAt }
  life.change({ state: after(record.state, 'lost'), reason, usage, ...over })
  await life.publish()
}
