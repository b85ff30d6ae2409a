/**
 * Hibernating and resuming on request. The record moves first, the runner does it, and its answer moves the record on:
 *
 *   running ──▶ hibernating ── saved ──▶ hibernated ──▶ resuming ── ready ──▶ running
 *                    └── kept: runs on                      └── kept: sleeps on
 *
 * While the call is under way its answer alone counts. If nobody knows how it ended, the sandbox stays on its way until the runner's
 * next status or the alarm, which asks again.
 */

import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { after, request } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import { admitted } from '../account/admission.ts'
import { outcome } from '../outcome.ts'
import type { Caller, CallOutcome } from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { askedAgain } from './asked.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import { isOnItsWay, lastKnownUsage, publicRecord } from './record.ts'
import { roomOf } from './room.ts'

type Change = 'hibernate' | 'resume'

/** Longer than any wait for the runner's answer, or for its next status. */
export const answerLimitMs = 300_000

/** Puts the sandbox to sleep; one that sleeps already is left alone. */
export function hibernate(life: Life, caller: Caller): Promise<RunRecord> {
  return change(life, caller, 'hibernate')
}

/** Wakes the sandbox; one that is awake is left alone. */
export async function resume(life: Life, caller: Caller): Promise<RunRecord> {
  const record = life.usable(caller)
  if (record.state !== 'hibernated') return change(life, caller, 'resume')
  const action = 'resume the sandbox'
  const wake = () => outcome(action, () => change(life, caller, 'resume'))
  return admitted(life.objects.account(record.account), roomOf(record, action), wake)
}

/** Goes on with what was interrupted. */
export function finishSleep(life: Life): Promise<RunRecord> {
  return run(life, life.known.state === 'hibernating' ? 'hibernate' : 'resume')
}

/** Whether a call is under way that changes the state. */
export function isChanging(life: Life): boolean {
  return life.isUnderWay('hibernate') || life.isUnderWay('resume')
}

/** It sleeps: from here on it uses nothing. */
export function asleep(life: Life, told: Usage | undefined): void {
  const { known } = life
  const usage = told ?? lastKnownUsage(known, life.clock.now())
  life.change({ state: 'hibernated', usage, ...settled, runningSince: null })
}

/** It runs: its time counts from here on, if it did not run all along. */
export function awake(life: Life): void {
  life.change({ state: 'running', runningSince: life.known.runningSince ?? life.clock.now(), ...settled })
}

async function change(life: Life, caller: Caller, asked: Change): Promise<RunRecord> {
  const record = life.usable(caller)
  assertAllowed(record, asked, `${asked} the sandbox`)
  const isSettled = request(record.state, asked).kind === 'ignored' && !isOnItsWay(record.state)
  return isSettled ? publicRecord(record) : run(life, asked)
}

function run(life: Life, asked: Change): Promise<RunRecord> {
  return life.once(asked, async () => {
    try {
      return await ask(life, asked)
    } finally {
      await life.publish()
    }
  })
}

async function ask(life: Life, asked: Change): Promise<RunRecord> {
  const fence = captureFence(life.known)
  if (fence === undefined) throw notFound()
  const { id } = life.known
  const verdict = request(life.known.state, asked)
  const state = verdict.kind === 'accepted' ? verdict.next : life.known.state
  life.change({ state, retryAt: life.clock.now() + answerLimitMs })
  life.inBackground('tell the account', life.publish())
  const runner = life.objects.runner(fence.runner)
  const call = (): Promise<CallOutcome<Usage | null>> => runner[asked](id, fence.generation)
  const answer = await askedAgain(`${asked} the sandbox`, life.clock, call)
  const isOvertaken = !life.holds(fence) || life.known.state !== state
  if (!answer.ok) {
    if (!isOvertaken && answer.reached !== 'unknown') keep(life)
    else if (!isOvertaken) life.change({ retryAt: life.clock.now() + answerLimitMs })
    throw AppError.fromWire(answer.error)
  }
  if (isOvertaken) {
    assertAllowed(life.known, 'use', `${asked} the sandbox`)
    throw notFound()
  }
  if (asked === 'hibernate') asleep(life, answer.value ?? undefined)
  else awake(life)
  return publicRecord(life.known)
}

/** It did not work out, and nothing is lost. */
function keep(life: Life): void {
  life.change({ state: after(life.known.state, 'kept'), retryAt: null })
}

/** Its runner has spoken. */
const settled = { retryAt: null, unreachableSince: null }
