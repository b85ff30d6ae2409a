/** What a sandbox used so far. Its runner measures; what does not run any more, or sleeps where nobody can be asked, has used what was last told. */

import { AppError } from '@portico/shared/errors'
import type { SandboxState } from '@portico/shared/lifecycle'
import type { Caller, Ended } from '../ports.ts'
import { asked } from './asked.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import { lastKnownUsage, publicRecord } from './record.ts'

/** The sandbox and its usage. */
export async function usage(life: Life, caller: Caller): Promise<Ended> {
  const record = life.usable(caller)
  const known = { record: publicRecord(record), usage: lastKnownUsage(record, life.clock.now()) }
  const fence = captureFence(record)
  if (fence === undefined || unasked.includes(record.state)) return known
  const call = life.objects.runner(fence.runner).stats(record.id, fence.generation)
  const answer = await asked('measure the sandbox', call)
  const current = publicRecord(life.usable(caller))
  if (answer.ok) return { record: current, usage: answer.value }
  if (life.known.state === 'hibernated') return known
  if (!life.holds(fence)) throw notFound()
  throw AppError.fromWire(answer.error)
}

/** States in which no runner has more to say. */
const unasked: readonly SandboxState[] = ['creating', 'error', 'lost']
