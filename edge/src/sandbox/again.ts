/** The same create once more, by a call that was repeated: it makes nothing twice. */

import type { RunRecord } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { Caller } from '../ports.ts'
import { finishDestroy, startDestroy } from './destroy.ts'
import type { Life } from './life.ts'
import { publicRecord } from './record.ts'

/** Joins the create that is under way, or answers what it made. What became of nothing is refused so that a new call may make it. */
export async function createdBefore(life: Life, { account, region }: Caller): Promise<RunRecord> {
  if (life.known.account !== account || life.known.region !== region) {
    throw new AppError('conflict', 'cannot create the sandbox: its id is in use')
  }
  return life.once('create', async () => {
    if (life.known.state === 'creating') {
      startDestroy(life, 'its creation was interrupted')
      life.inBackground('undo the create', finishDestroy(life))
    }
    if (life.known.state === 'destroying' || life.known.state === 'destroyed') {
      throw new AppError('boot_failed', 'cannot create the sandbox: its creation was interrupted; try again')
    }
    return publicRecord(life.known)
  })
}
