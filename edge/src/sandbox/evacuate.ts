/** Putting a sandbox to sleep because the operator empties its runner: whoever owns it, and however its idle time is set. */

import type { RunRecord } from '@portico/shared/api'
import type { Life } from './life.ts'
import { notFound } from './life.ts'
import { hibernate } from './sleep.ts'

/** Hibernates it, if that runner has it; one that sleeps already is left alone. */
export async function evacuate(life: Life, runner: string, generation: number): Promise<RunRecord> {
  const { record } = life
  if (record === undefined || !life.holds({ runner, generation })) throw notFound()
  return hibernate(life, { account: record.account, region: record.region })
}
