/**
 * Room in the account's limits for a sandbox that is about to wake. One that sleeps counts for nothing, so whatever wakes it asks first:
 * a resume, a use or a copy. One that is still falling asleep has its room, and keeps it. Room for one that does not wake goes with its time.
 */

import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { AdmitInput } from '../ports.ts'
import type { Life } from './life.ts'
import type { SandboxRecord } from './record.ts'

/** What it takes up when it is awake. */
export function roomOf({ id, spec }: SandboxRecord, action: string): AdmitInput {
  return { action, sandboxes: [id], vcpus: spec.vcpus, memMib: spec.mem_mib }
}

/** Whether its runner has to wake it. On its way to wake it has its room already. */
export function isAsleep({ state }: SandboxRecord): boolean {
  return state === 'hibernating' || state === 'hibernated'
}

/** Keeps room for a sandbox that is woken by what is about to be done with it, or throws `quota_exceeded`. */
export async function admitAwake(life: Life, record: SandboxRecord, action: string): Promise<void> {
  if (!isAsleep(record)) return
  unwrap(await reach(action, life.objects.account(record.account).admit(roomOf(record, action))))
}
