/**
 * A sandbox that another one's fork makes. Its record is there before the runner hears of it and its parent's object tells how it ended;
 * if that never comes, the alarm ends it as it ends any interrupted create.
 */

import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { isFinal } from '@portico/shared/lifecycle'
import type { CallOutcome, ChildInput, Created } from '../ports.ts'
import { fail, overtaken, ready } from './create.ts'
import type { Copied } from './fork.ts'
import type { Life } from './life.ts'
import { newRecord } from './record.ts'

/** Writes the record of a child that is about to be made, and what it gets of its parent's object. */
export function announce(life: Life, input: ChildInput, { settings, store }: Copied): void {
  const { runner, parent, labels = {}, ports } = input
  if (life.record?.account === input.account && isFinal(life.record.state)) throw interrupted()
  const record = newRecord({ ...input, marks: { name: null, labels } }, life.clock.now())
  life.begin({ ...record, runner, generation: 1, forkedFrom: parent })
  for (const [port, setting] of Object.entries(ports)) settings().set(Number(port), setting)
  store.fill(input.store)
  life.inBackground('tell the account', life.publish())
}

/** The same fork, repeated after it came to nothing: a new call may make new children. */
function interrupted(): AppError {
  return new AppError('boot_failed', 'cannot fork the sandbox: the making of its child was interrupted; try again')
}

/** How its making ended. */
export async function settle(life: Life, answer: CallOutcome<Created>): Promise<RunRecord> {
  try {
    if (life.known.state !== 'creating') throw undo(life)
    if (!answer.ok) throw fail(life, answer)
    return ready(life, answer.value)
  } finally {
    await life.publish()
  }
}

/** It was destroyed on the way: what its runner may have made since goes, too. */
function undo(life: Life): AppError {
  const { id, runner, generation } = life.known
  if (runner !== null) life.inBackground('undo the fork', life.objects.runner(runner).destroy(id, generation))
  return overtaken(life)
}
