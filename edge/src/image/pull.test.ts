import { systemClock } from '@portico/shared/clock'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import { expect, test } from 'vitest'
import { pull } from './pull.ts'
import type { Work } from './work.ts'

/** A region that answers with one error after another. */
function failingWith(...codes: ErrorCode[]): Work {
  const left = [...codes]
  const puller = async () => ({
    ok: false,
    error: new AppError(left.shift() ?? 'internal', 'cannot pull').toWire(),
  })
  const clock = {
    ...systemClock,
    now: () => 0,
    after: (_ms: number, run: () => void) => {
      queueMicrotask(run)
      return () => undefined
    },
  }
  const signal = new AbortController().signal
  const objects = { region: () => ({ puller }) }
  return { principal: { account: 'a', region: 'local' }, objects, clock, signal } as unknown as Work
}

test('a pull that the platform interrupts is tried again, one that ran out of time is not', async () => {
  await expect(pull(failingWith('overloaded', 'deadline'), 'alpine')).rejects.toMatchObject({ code: 'deadline' })
  await expect(pull(failingWith('deadline', 'overloaded'), 'alpine')).rejects.toMatchObject({ code: 'deadline' })
})
