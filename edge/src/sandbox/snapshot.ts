/** Taking a snapshot: the account notes it, the runner saves it, the account keeps it. What breaks off in between the account sweeps. */

import { AppError } from '@portico/shared/errors'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, Snapshot } from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { askedAgain } from './asked.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import { admitAwake } from './room.ts'

const action = 'snapshot the sandbox'

/** Saves the state of this moment under a new id, for its owner or as the substance of an image. */
export async function snapshot(life: Life, caller: Caller, id: string, image?: string): Promise<Snapshot> {
  const record = life.usable(caller)
  assertAllowed(record, 'copy', action)
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  const { region, spec } = record
  const resolvedImage = record.resolvedImage ?? spec.image
  const of = { region, run: record.id, runner: fence.runner, resolvedImage, spec }
  const noted = { id, ...of, createdAt: life.clock.now(), ...(image === undefined ? {} : { image }) }
  const account = life.objects.account(record.account)
  await admitAwake(life, record, action)
  unwrap(await reach(action, account.beginSnapshot(noted)))
  const runner = life.objects.runner(fence.runner)
  const answer = await askedAgain(action, life.clock, () => runner.snapshot(record.id, fence.generation, id))
  if (answer.ok) {
    const kept = unwrap(await reach(action, account.keepSnapshot(id, answer.value)))
    life.note('sandbox.snapshot', { id })
    return kept
  }
  if (answer.reached !== 'unknown') life.inBackground('forget the snapshot', account.dropSnapshot(id))
  throw AppError.fromWire(answer.error)
}
