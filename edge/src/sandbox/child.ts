/**
 * A sandbox that another one's fork makes. Its record is there before the runner hears of it and its parent's object tells how it ended;
 * if that never comes, the alarm ends it as it ends any interrupted create.
 */

import type { RunRecord } from '@portico/shared/api'
import type { AppError } from '@portico/shared/errors'
import type { CallOutcome, ChildInput, Created } from '../ports.ts'
import { fail, overtaken, ready } from './create.ts'
import type { Life } from './life.ts'
import { newRecord } from './record.ts'

/** Writes the record of a child that is about to be made. */
export function announce(life: Life, input: ChildInput): void {
  const { runner, parent } = input
  life.begin({ ...newRecord(input, life.clock.now()), runner, generation: 1, forkedFrom: parent })
  life.inBackground('tell the account', life.publish())
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
  return overtaken()
}
