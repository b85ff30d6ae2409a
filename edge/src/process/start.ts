/** Starts a process that is kept. With an `Idempotency-Key` it is started at most once: the agent gives ids, so after a call that broke off nobody can tell. */

import type { ProcessRecord } from '@portico/shared/api'
import { AppError, type ErrorCode } from '@portico/shared/errors'
import type { GuestSpawnRequest } from '@portico/shared/guest'
import { noteCall } from '../audit/calls.ts'
import type { KeyCall } from '../call.ts'
import { once } from '../middleware/idempotency.ts'
import { traced } from '../tracing/span.ts'
import { askProcess } from './ask.ts'

/** After these the process may run. */
const unsure: readonly ErrorCode[] = ['runner_disconnected', 'guest_disconnected', 'deadline', 'cancelled']

/** `command` is how the caller has put it. */
export function startProcess(
  call: KeyCall,
  sandbox: string,
  command: string | readonly string[],
  asked: GuestSpawnRequest,
): Promise<Response> {
  return once(call, [], async (_ids, again) => {
    if (again) {
      const why = 'the first call broke off, and its process may run; look at the list of processes'
      throw new AppError('conflict', `cannot repeat the call: ${why}`)
    }
    const record = await started(call, sandbox, asked)
    noteCall(call, sandbox, 'process.started', { process: record.id, command })
    return Response.json(record satisfies ProcessRecord, { status: 201 })
  })
}

async function started(call: KeyCall, sandbox: string, json: GuestSpawnRequest): Promise<ProcessRecord> {
  try {
    const about = { 'portico.sandbox.id': sandbox, 'portico.detached': true }
    return await traced(call, 'sandbox.exec', about, ({ trace }) =>
      askProcess(call, sandbox, { method: 'POST', path: '/processes', json, trace }),
    )
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (!unsure.includes(error.code)) throw error
    throw new AppError(error.code, error.message, { cause: error })
  }
}
