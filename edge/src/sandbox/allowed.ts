/** Whether a sandbox may be asked something now, and with which code it is refused where not. */

import { AppError } from '@portico/shared/errors'
import { request, type SandboxRequest, type SandboxState } from '@portico/shared/lifecycle'
import { notFound } from './life.ts'
import type { SandboxRecord } from './record.ts'
import { isOnRunner } from './unreachable.ts'

/** Throws unless the request is allowed in the record's state, or its runner wakes the sandbox for it. `action` completes "cannot …". */
export function assertAllowed(record: SandboxRecord, asked: SandboxRequest, action: string): void {
  if (record.state === 'lost') throw new AppError('sandbox_lost', `cannot ${action}: it was lost with its runner`)
  if (record.unreachableSince !== null && isOnRunner(record.state)) {
    const since = new Date(record.unreachableSince).toISOString()
    throw new AppError('sandbox_unreachable', `cannot ${action}: its runner has not been connected since ${since}`)
  }
  const verdict = request(record.state, asked)
  if (verdict.kind !== 'denied' || isWokenBy(record, asked)) return
  switch (record.state) {
    case 'error':
      throw new AppError('sandbox_failed', `cannot ${action}: ${record.reason ?? verdict.reason}`)
    case 'hibernating':
    case 'hibernated':
      throw new AppError(
        asked === 'resume' ? 'sandbox_not_running' : 'sandbox_hibernated',
        `cannot ${action}: ${verdict.reason}`,
      )
    case 'creating':
    case 'resuming':
      throw new AppError('sandbox_not_running', `cannot ${action}: ${verdict.reason}`)
    default:
      throw notFound()
  }
}

const sleepy: readonly SandboxState[] = ['hibernating', 'hibernated', 'resuming']

function isWokenBy({ spec, state }: SandboxRecord, asked: SandboxRequest): boolean {
  return spec.auto_resume && sleepy.includes(state) && (asked === 'use' || asked === 'copy')
}
