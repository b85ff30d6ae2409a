/** What the making of an image gets: who it is for, how to tell of it, and when to stop. */

import type { ImageEvent } from '@portico/shared/api'
import type { Clock } from '@portico/shared/clock'
import type { Services } from '../call.ts'
import type { Env } from '../env.ts'
import type { Caller, Objects } from '../ports.ts'

export interface Work {
  readonly id: string
  readonly principal: Caller
  readonly env: Env
  readonly objects: Objects
  readonly services: Pick<Services, 'routes' | 'images'>
  readonly clock: Clock
  /** For the logs of those who are called on its behalf. */
  readonly requestId: string
  /** Aborted when the image is deleted. */
  readonly signal: AbortSignal
  tell(event: ImageEvent): void
  /** Notes the sandbox that it is built in, before it is made. */
  builds(sandbox: string): void
}

/** Waits, unless it is stopped meanwhile. */
export function pause({ clock, signal }: Pick<Work, 'clock' | 'signal'>, ms: number): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason)
    const onAbort = () => {
      stop()
      reject(signal.reason)
    }
    const stop = clock.after(ms, () => {
      signal.removeEventListener('abort', onAbort)
      resolve()
    })
    signal.addEventListener('abort', onAbort, { once: true })
  })
}

/** Runs a phase and notes how long it took. */
export async function timed<Value>(
  { clock }: Pick<Work, 'clock'>,
  took: Record<string, number>,
  phase: string,
  run: () => Promise<Value>,
): Promise<Value> {
  const start = clock.now()
  try {
    return await run()
  } finally {
    took[phase] = clock.now() - start
  }
}
