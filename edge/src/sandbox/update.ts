/** Changing the idle time of a sandbox: the runner keeps that clock, so it is asked first. */

import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { reach } from '../platform-errors.ts'
import type { Caller } from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import { publicRecord } from './record.ts'

const action = 'change the sandbox'

/** Sets the idle time in seconds; 0 is never. */
export async function update(life: Life, caller: Caller, idleTimeout: number): Promise<RunRecord> {
  const record = life.usable(caller)
  // Its runner may not have heard of it yet.
  assertAllowed(record, record.state === 'creating' ? 'use' : 'update', action)
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  const runner = life.objects.runner(fence.runner)
  const answer = await reach(action, runner.update(record.id, fence.generation, idleTimeout))
  if (!answer.ok) throw AppError.fromWire(answer.error)
  const current = life.usable(caller)
  if (!life.holds(fence)) throw notFound()
  const changed = life.change({ spec: { ...current.spec, idle_timeout: idleTimeout } })
  await life.publish()
  return publicRecord(changed)
}
