/** Ends a process that is not our child, known by pid and start time, and waits until it is gone. */

import { type Clock, sleep, systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { Proc, type ProcessIdentity } from './proc.ts'

const firstStepMs = 2
const maxStepMs = 50

/** Sends SIGKILL to exactly this process. Resolves when it no longer runs; does nothing if it is gone already. */
export async function killProcess(
  identity: ProcessIdentity,
  options: { limitMs: number; signal: AbortSignal; proc?: Proc; clock?: Clock },
): Promise<void> {
  const { limitMs, signal, proc = new Proc(), clock = systemClock } = options
  if (!(await proc.runs(identity))) return
  try {
    process.kill(identity.pid, 'SIGKILL')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ESRCH') return
    throw new AppError('internal', 'cannot end a process: the host refused', { cause })
  }
  const end = clock.now() + limitMs
  for (let step = firstStepMs; await proc.runs(identity); step = Math.min(maxStepMs, step * 2)) {
    if (clock.now() >= end) throw new AppError('internal', `cannot end a process: still there after ${limitMs} ms`)
    await sleep(step, signal, clock)
  }
}
