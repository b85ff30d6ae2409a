/**
 * An account's limits, kept to. Counting and keeping room happen in one turn of the account's object, so however many calls come at
 * once, no more pass than there is room for. Limits that are lowered below what is in use end nothing; they only admit no more.
 */

import type { AccountLimits } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { AdmitInput, InUse } from '../ports.ts'
import type { MachineTable } from '../store/machines.ts'
import type { SnapshotTable } from '../store/snapshots.ts'

/** Longer than any call takes from being admitted to being in the index. */
export const admissionMs = 300_000

/** Keeps room for these sandboxes, or throws `quota_exceeded` having kept none. Asked again for the same ones it counts them once. */
export function admit(table: MachineTable, limits: AccountLimits, input: AdmitInput, now: number): void {
  const { action, sandboxes, vcpus, memMib } = input
  if (limits.sandboxes === null && limits.vcpus === null && limits.mem_mib === null) return
  const used = table.inUse(now)
  const more = sandboxes.filter((sandbox) => !table.isHeld(sandbox))
  if (more.length > 0) {
    assertRoom(action, 'sandboxes', limits, used, more.length)
    assertRoom(action, 'vcpus', limits, used, more.length * vcpus)
    assertRoom(action, 'mem_mib', limits, used, more.length * memMib)
  }
  for (const sandbox of sandboxes) table.keep(sandbox, vcpus, memMib, now + admissionMs)
}

/** Throws `quota_exceeded` unless the account may have another snapshot, or has this one already. One that `replaces` another takes its room. */
export function assertSnapshotRoom(
  machines: MachineTable,
  snapshots: SnapshotTable,
  limits: AccountLimits,
  id: string,
  now: number,
  { action = 'snapshot the sandbox', replaces = false }: { action?: string; replaces?: boolean } = {},
): void {
  if (limits.snapshots === null || snapshots.isNoted(id)) return
  assertRoom(action, 'snapshots', limits, machines.inUse(now), replaces ? 0 : 1)
}

function assertRoom(action: string, name: keyof InUse, limits: AccountLimits, used: InUse, more: number): void {
  const limit = limits[name]
  if (limit === null || used[name] + more <= limit) return
  throw new AppError('quota_exceeded', `cannot ${action}: the account's limit ${name} = ${limit} is reached`)
}
