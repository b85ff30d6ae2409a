/**
 * Checkpoints of a sandbox, and images for its containers. They are files of its runner, which knows best what there is: here it is decided whether it may be
 * asked now, and noted what was done. A call whose tunnel breaks is made again.
 */

import { AppError } from '@portico/shared/errors'
import {
  type Caller,
  type CallOutcome,
  type Checkpoint,
  type CheckpointInput,
  type CheckpointMade,
  type CheckpointRestored,
  type GuestImage,
  isGone,
  type RunnerPort,
} from '../ports.ts'
import { assertAllowed } from './allowed.ts'
import { askedAgain } from './asked.ts'
import { captureFence } from './fence.ts'
import { type Life, notFound } from './life.ts'
import { admitAwake } from './room.ts'

/** As long as the runner itself may take. */
const restoreLimitMs = 300_000
/** Between two looks whether a restore is over. */
const busyMs = 1000

/** Keeps the files of this moment under a new id. */
export async function createCheckpoint(life: Life, caller: Caller, input: CheckpointInput): Promise<CheckpointMade> {
  const createdAt = new Date(life.clock.now()).toISOString()
  const asked = { action: 'create the checkpoint', wakes: true }
  const made = await askRunner(life, caller, asked, (runner, sandbox, generation) =>
    runner.createCheckpoint(sandbox, generation, { ...input, createdAt }),
  )
  life.note('checkpoint.created', { checkpoint: input.id, name: input.name })
  return made
}

/** Oldest first; also while it sleeps. */
export function listCheckpoints(life: Life, caller: Caller): Promise<readonly Checkpoint[]> {
  return askRunner(life, caller, { action: 'list the checkpoints', wakes: false }, (runner, sandbox, generation) =>
    runner.checkpoints(sandbox, generation),
  )
}

/** Answers with its size once it is on the disk for good. */
export function waitForCheckpoint(life: Life, caller: Caller, id: string): Promise<number> {
  return askRunner(life, caller, { action: 'wait for the checkpoint', wakes: false }, (runner, sandbox, generation) =>
    runner.waitForCheckpoint(sandbox, generation, id),
  )
}

/**
 * Puts the files back in place. When it fails the sandbox is as it was before. Where a tunnel broke in the middle the runner may still be at it: the repeated
 * call waits for that, and then puts the same files in place once more.
 */
export async function restoreCheckpoint(life: Life, caller: Caller, id: string): Promise<CheckpointRestored> {
  const asked = { action: 'restore the checkpoint', wakes: true }
  const until = life.clock.now() + restoreLimitMs
  let isRepeated = false
  const restored = await askRunner(life, caller, asked, async (runner, sandbox, generation) => {
    for (;;) {
      const answer = await runner.restoreCheckpoint(sandbox, generation, id)
      const isBusy = !answer.ok && answer.error.code === 'sandbox_busy'
      if (!isBusy || !isRepeated || life.clock.now() > until) {
        isRepeated = true
        return answer
      }
      await new Promise<void>((resolve) => life.clock.after(busyMs, resolve))
    }
  })
  const { started, stopped, failed } = restored
  life.note('checkpoint.restored', { checkpoint: id, started, stopped, failed })
  return restored
}

/** Also while it sleeps. */
export async function deleteCheckpoint(life: Life, caller: Caller, id: string): Promise<void> {
  const asked = { action: 'delete the checkpoint', wakes: false }
  await askRunner(life, caller, asked, (runner, sandbox, generation) =>
    runner.deleteCheckpoint(sandbox, generation, id),
  )
  life.note('checkpoint.deleted', { checkpoint: id })
}

/** Has an image brought into it. */
export function bringImage(life: Life, caller: Caller, image: string): Promise<GuestImage> {
  return askRunner(life, caller, { action: 'bring the image', wakes: true }, (runner, sandbox, generation) =>
    runner.bringImage(sandbox, generation, image),
  )
}

interface Asked {
  /** Completes "cannot …". */
  readonly action: string
  /** It needs a machine: one that sleeps is woken by its runner, or refused. */
  readonly wakes: boolean
}

async function askRunner<Value>(
  life: Life,
  caller: Caller,
  { action, wakes }: Asked,
  call: (runner: RunnerPort, sandbox: string, generation: number) => Promise<CallOutcome<Value>>,
): Promise<Value> {
  const record = life.usable(caller)
  assertAllowed(record, wakes ? 'use' : 'update', action)
  const fence = captureFence(record)
  if (fence === undefined) throw notFound()
  if (wakes) await admitAwake(life, record, action)
  const runner = life.objects.runner(fence.runner)
  const answer = await askedAgain(action, life.clock, () => call(runner, record.id, fence.generation))
  if (!life.holds(fence)) throw notFound()
  if (answer.ok) return answer.value
  // What has become of a sandbox that its runner does not have, its record says or will say.
  if (isGone(answer)) throw notFound()
  throw AppError.fromWire(answer.error)
}
