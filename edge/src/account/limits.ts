/** What an account may have at once. Kept with the account when it is opened, so that a change of the defaults leaves older accounts alone. */

import { type AccountLimits, accountLimits } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { Env } from '../env.ts'

export const noLimits: AccountLimits = {
  sandboxes: null,
  vcpus: null,
  mem_mib: null,
  snapshots: null,
  requests_per_second: null,
}

/** The limits of a new account, by the Worker's variables; what is not set is no limit. */
export function defaultLimits(env: Env): AccountLimits {
  const given = {
    sandboxes: number('DEFAULT_LIMIT_SANDBOXES', env.DEFAULT_LIMIT_SANDBOXES),
    vcpus: number('DEFAULT_LIMIT_VCPUS', env.DEFAULT_LIMIT_VCPUS),
    mem_mib: number('DEFAULT_LIMIT_MEM_MIB', env.DEFAULT_LIMIT_MEM_MIB),
    snapshots: number('DEFAULT_LIMIT_SNAPSHOTS', env.DEFAULT_LIMIT_SNAPSHOTS),
    requests_per_second: number('DEFAULT_LIMIT_REQUESTS_PER_SECOND', env.DEFAULT_LIMIT_REQUESTS_PER_SECOND),
  }
  const checked = accountLimits.safeParse(given)
  if (checked.success) return checked.data
  throw wrong(`DEFAULT_LIMIT_${String(checked.error.issues[0]?.path[0]).toUpperCase()}`)
}

/** A variable set to anything but a number is a mistake in the deployment. */
function number(name: string, value: string | undefined): number | null {
  if (value === undefined || value === '') return null
  if (/^\d{1,15}$/.test(value)) return Number(value)
  throw wrong(name)
}

function wrong(name: string): AppError {
  return new AppError('internal', `cannot open the account: the variable ${name} is no limit`)
}
