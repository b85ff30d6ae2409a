/** Changing a sandbox: what it is called, and its idle time. The runner keeps that clock, so it is asked first. */

import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { reach } from '../platform-errors.ts'
import type { Caller, Patch } from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import { publicRecord, type SandboxRecord } from './record.ts'

const action = 'change the sandbox'

/** Sets what the patch names: the idle time in seconds (0 is never), the name, all labels. */
export async function update(life: Life, caller: Caller, patch: Patch): Promise<RunRecord> {
  const { idleTimeout, name, labels } = patch
  if (idleTimeout === undefined) assertAllowed(life.usable(caller), 'update', action)
  else await tellRunner(life, caller, idleTimeout)
  const { spec } = life.usable(caller)
  const changed = life.change({
    ...(idleTimeout === undefined ? {} : { spec: { ...spec, idle_timeout: idleTimeout } }),
    ...(name === undefined ? {} : { name }),
    ...(labels === undefined ? {} : { labels }),
  })
  life.note('sandbox.updated', noted(changed, patch))
  await life.publish()
  return publicRecord(changed)
}

async function tellRunner(life: Life, caller: Caller, idleTimeout: number): Promise<void> {
  const record = life.usable(caller)
  // Its runner may not have heard of it yet.
  assertAllowed(record, record.state === 'creating' ? 'use' : 'update', action)
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  const runner = life.objects.runner(fence.runner)
  const answer = await reach(action, runner.update(record.id, fence.generation, idleTimeout))
  if (!answer.ok) throw AppError.fromWire(answer.error)
  life.usable(caller)
  if (!life.holds(fence)) throw notFound()
}

function noted({ spec, name, labels }: SandboxRecord, patch: Patch): Record<string, unknown> {
  return {
    ...(patch.idleTimeout === undefined ? {} : { timeout: spec.idle_timeout }),
    ...(patch.name === undefined ? {} : { name }),
    ...(patch.labels === undefined ? {} : { labels }),
  }
}
