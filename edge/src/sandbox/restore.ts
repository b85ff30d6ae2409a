/** A sandbox from a snapshot. It can only come to be on the runner that has the snapshot; what else holds for a create holds here. */

import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { RestoreInput } from '../ports.ts'
import { createdBefore } from './again.ts'
import { asked } from './asked.ts'
import { bootSpec, fail, giveBackPlace, giveUp, overtaken, ready } from './create.ts'
import type { Life } from './life.ts'
import { newRecord } from './record.ts'

const action = 'restore the sandbox'

/** Restores the sandbox and answers its record once it runs. */
export function restore(life: Life, input: RestoreInput): Promise<RunRecord> {
  if (life.record !== undefined) return createdBefore(life, input)
  life.begin({ ...newRecord(input, life.clock.now()), restoredFrom: input.snapshot })
  return life.once('create', async () => {
    try {
      return await makeThere(life, input)
    } finally {
      await life.publish()
    }
  })
}

async function makeThere(life: Life, input: RestoreInput): Promise<RunRecord> {
  const { region, runner, sandbox, snapshot, spec, trace } = input
  const need = { region, runner, sandboxes: [sandbox], memMib: spec.mem_mib, vcpus: spec.vcpus }
  try {
    unwrap(await reach(action, life.objects.region(region).reserve(need)))
  } catch (thrown) {
    throw giveUp(life, AppError.from(thrown))
  }
  if (life.known.state !== 'creating') {
    giveBackPlace(life)
    throw overtaken(life)
  }
  const { generation } = life.change({ runner, generation: life.known.generation + 1 })
  life.inBackground('tell the account', life.publish())
  const answer = await asked(
    action,
    life.objects.runner(runner).restore(sandbox, generation, snapshot, bootSpec(input), trace),
  )
  if (!life.holds({ runner, generation }) || life.known.state !== 'creating') throw overtaken(life)
  if (!answer.ok) throw fail(life, answer)
  return ready(life, answer.value)
}
