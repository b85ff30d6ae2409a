/** Calls to a runner as one outcome, whether the runner's object answered or broke; and calls that are made again when a tunnel broke. */

import type { Clock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { reach } from '../platform-errors.ts'
import type { CallOutcome } from '../ports.ts'

/** A runner dials again within 1.5 s; after the last of these waits nobody waits for it any more. */
const waitsMs = [250, 500, 1000, 2000]

/** The call's outcome; `action` completes "cannot …". */
export async function asked<Value>(action: string, call: Promise<CallOutcome<Value>>): Promise<CallOutcome<Value>> {
  try {
    return await reach(action, call)
  } catch (thrown) {
    return { ok: false, error: AppError.from(thrown).toWire(), reached: 'unknown' }
  }
}

/** For calls that a runner answers the same when they are repeated: a tunnel that breaks in the middle loses the answer, not the work. */
export async function askedAgain<Value>(
  action: string,
  clock: Clock,
  call: () => Promise<CallOutcome<Value>>,
): Promise<CallOutcome<Value>> {
  const first = await asked(action, call())
  if (first.ok || !isCut(first)) return first
  for (const waitMs of waitsMs) {
    await new Promise<void>((resolve) => clock.after(waitMs, resolve))
    const answer = await asked(action, call())
    if (answer.ok || answer.reached === 'answered') return answer
  }
  return first
}

function isCut(failed: { readonly error: { readonly code: string }; readonly reached: string }): boolean {
  return failed.reached === 'unknown' && failed.error.code !== 'deadline'
}
