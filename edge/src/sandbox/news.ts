/** What a runner tells of a sandbox by itself, and what the alarm finds. Only the runner and generation in force count. */

import type { SandboxEventMessage } from '@portico/shared/control'
import { after } from '@portico/shared/lifecycle'
import { finishDestroy, startDestroy } from './destroy.ts'
import type { Life } from './life.ts'
import { isForgettable, lastKnownUsage } from './record.ts'

/** The sandbox ended or broke on its runner. */
export async function hear(life: Life, runner: string, message: SandboxEventMessage): Promise<void> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation: message.generation })) return
  if (message.state === 'destroyed') {
    life.end(message.usage ?? lastKnownUsage(record, life.clock.now()), message.reason ?? record.reason)
  } else if (message.state === 'error' && record.state !== 'creating') {
    // While it is being created the answer of the create says the same, to somebody who waits for it.
    fail(life, message.reason ?? 'its virtual machine ended unexpectedly', message)
  }
  await life.publish()
}

/** Its runner no longer has it. */
export async function lose(life: Life, runner: string, generation: number): Promise<void> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation })) return
  // It reports what it has before it answers the destroy, and the answer, given again if need be, holds the final usage.
  if (record.state === 'destroying') life.inBackground('destroy the sandbox', finishDestroy(life))
  else if (record.state === 'running') fail(life, 'lost by its runner', {})
  await life.publish()
}

/** Whether a runner that has this generation is to keep it. */
export function claims(life: Life, runner: string, generation: number): boolean {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation })) return false
  return record.state === 'creating' || record.state === 'running'
}

/** Finishes or fails what was interrupted, tells the account what it does not know yet, and forgets what ended long ago. */
export async function wake(life: Life): Promise<void> {
  const { record } = life
  if (record === undefined) return
  if (isForgettable(record, life.clock.now())) return life.clear()
  if (record.state === 'creating' && !life.isUnderWay('create')) startDestroy(life, 'its creation was interrupted')
  if (life.known.state === 'destroying') await finishDestroy(life).catch(() => undefined)
  await life.publish()
  life.keepAlarm()
}

function fail(life: Life, reason: string, told: { usage?: SandboxEventMessage['usage'] }): void {
  const { known } = life
  const state = after(known.state, 'failed')
  if (state === known.state) return
  life.change({ state, reason, usage: told.usage ?? lastKnownUsage(known, life.clock.now()) })
}
