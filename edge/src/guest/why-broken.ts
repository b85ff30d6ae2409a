/** What is said of an answer that broke off in the middle. */

import { AppError } from '@portico/shared/errors'
import type { SandboxCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'

/** What its record says about the sandbox; where it says nothing, its connection broke. `action` completes "cannot …". */
export async function whyBroken(
  { objects, principal, services }: SandboxCall,
  sandbox: string,
  action: string,
  cause?: unknown,
): Promise<AppError> {
  services.routes.drop(sandbox)
  const record = unwrap(await reach('find the sandbox', objects.sandbox(sandbox).read(principal)))
  const { status, auto_resume } = record
  const cannot = `cannot ${action}`
  if (status === 'lost') return new AppError('sandbox_lost', `${cannot}: its sandbox is lost`)
  if (status === 'error') return new AppError('sandbox_failed', `${cannot}: its sandbox has failed`)
  if (!auto_resume && (status === 'hibernating' || status === 'hibernated'))
    return new AppError('sandbox_hibernated', `${cannot}: its sandbox was hibernated`)
  return new AppError('runner_disconnected', `${cannot}: the connection to its sandbox broke off`, { cause })
}
