/** What a key's scope allows. Asked in one place: where a request enters. */

import { AppError } from '@portico/shared/errors'
import type { Scope } from '../ports.ts'
import type { Need } from '../routes/row.ts'

const allowed: Readonly<Record<Scope, readonly Need[]>> = {
  full: ['read', 'use', 'manage'],
  'read-only': ['read'],
  'exec-only': ['read', 'use'],
}

/** Throws `forbidden` where the scope does not allow what a row needs. */
export function assertScope(scope: Scope, need: Need): void {
  if (allowed[scope].includes(need)) return
  throw new AppError('forbidden', `cannot do this with the key: its scope is ${scope}, which may not ${need}`)
}
