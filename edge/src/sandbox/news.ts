/** What a runner tells of a sandbox by itself, and what the alarm finds. Only the runner and generation in force count. */

import type { SandboxEventMessage } from '@portico/shared/control'
import { after, holdsMachine, isFinal } from '@portico/shared/lifecycle'
import { finishDestroy, startDestroy } from './destroy.ts'
import type { Life } from './life.ts'
import { isForgettable, isOnItsWay, lastKnownUsage, type SandboxRecord } from './record.ts'
import { answerLimitMs, asleep, awake, finishSleep, isChanging } from './sleep.ts'
import { stateAfterNews } from './told.ts'
import { markReachable } from './unreachable.ts'

/** Takes news. False if a call is under way whose answer says the same, or more. */
export async function hear(life: Life, runner: string, message: SandboxEventMessage): Promise<boolean> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation: message.generation }) || isFinal(record.state))
    return true
  markReachable(life)
  const isTaken = take(life, life.known, message)
  // A destroy that did not reach the runner does not wait for the alarm now that the runner is there.
  if (life.known.state === 'destroying') life.inBackground('destroy the sandbox', finishDestroy(life))
  await life.publish()
  return isTaken
}

const neverReady = 'its runner ended it before it was ready'

function take(life: Life, record: SandboxRecord, message: SandboxEventMessage): boolean {
  if (message.state === 'destroyed') {
    const reason = message.reason ?? record.reason ?? (record.state === 'creating' ? neverReady : null)
    life.end(message.usage ?? lastKnownUsage(record, life.clock.now()), reason)
    return true
  }
  if (record.state === 'creating' || (message.state !== 'error' && isChanging(life))) return false
  if (message.state === 'error') fail(life, message.reason ?? 'its virtual machine ended unexpectedly', message)
  else move(life, record, message)
  return true
}

/** It fell asleep or woke by itself. */
function move(life: Life, record: SandboxRecord, { state: told, usage }: SandboxEventMessage): void {
  const state = stateAfterNews(record.state, told)
  if (state === 'hibernated' && (state !== record.state || usage !== undefined)) asleep(life, usage)
  else if (state === 'running' && state !== record.state) awake(life)
  else if (state !== record.state) life.change({ state, retryAt: life.clock.now() + answerLimitMs })
}

/** Its runner no longer has it. */
export async function lose(life: Life, runner: string, generation: number): Promise<void> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation })) return
  // It reports what it has before it answers the destroy, and the answer, given again if need be, holds the final usage.
  if (record.state === 'destroying') life.inBackground('destroy the sandbox', finishDestroy(life))
  else if (record.state !== 'creating') fail(life, 'lost by its runner', {})
  await life.publish()
}

/** Whether a runner that has this generation is to keep it. */
export function claims(life: Life, runner: string, generation: number): boolean {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation })) return false
  return holdsMachine(record.state) || record.state === 'hibernated'
}

/** Finishes or fails what was interrupted, tells the account what it does not know yet, and forgets what ended long ago. */
export async function wake(life: Life): Promise<void> {
  const { record } = life
  if (record === undefined) return
  if (isForgettable(record, life.clock.now())) return life.clear()
  if (record.state === 'creating' && !life.isUnderWay('create')) startDestroy(life, 'its creation was interrupted')
  else if (isOnItsWay(record.state)) await finishSleep(life).catch(() => undefined)
  if (life.known.state === 'destroying') await finishDestroy(life).catch(() => undefined)
  await life.publish()
  life.keepAlarm()
}

function fail(life: Life, reason: string, told: { usage?: SandboxEventMessage['usage'] }): void {
  const { known } = life
  const state = after(known.state, 'failed')
  if (state === known.state) return
  const usage = told.usage ?? lastKnownUsage(known, life.clock.now())
  life.change({ state, reason, usage, runningSince: null, retryAt: null, unreachableSince: null })
}
