/** One invocation from its frame to its ending: which function, may the key call it, does the payload fit, and what became of it. */

import { AppError } from '@portico/shared/errors'
import { assertScope } from '../auth/scopes.ts'
import { logFailure } from '../log.ts'
import type { InvocationContext } from './context.ts'
import { Fault, handlerError, type InvocationError } from './errors.ts'
import type { Ending, Invoke } from './frames.ts'
import type { IiiFunction } from './functions.ts'
import { whyUnreadable } from './payload.ts'

/** Never throws: whatever goes wrong is the ending. */
export async function invoked(
  functions: ReadonlyMap<string, IiiFunction>,
  { function_id, data, action }: Invoke,
  context: InvocationContext,
): Promise<Ending> {
  if (action?.type === 'enqueue') return failed('enqueue_error', 'queues are not served on this platform')
  const called = functions.get(function_id)
  if (called === undefined) return failed('function_not_found', `Function ${function_id} not found`)
  try {
    assertScope(context.scope, called.needs)
  } catch (thrown) {
    return failed('FORBIDDEN', AppError.from(thrown).message)
  }
  const payload = called.schema.safeParse(data)
  if (!payload.success) {
    return failed('invocation_failed', `serialization error: ${whyUnreadable(data, payload.error)}`)
  }
  try {
    return { result: await called.handle(payload.data, context) }
  } catch (thrown) {
    return endingOf(thrown, called, context.requestId)
  }
}

/** What a function's error is to its caller. */
export function endingOf(thrown: unknown, called: IiiFunction | undefined, requestId = ''): Ending {
  return { error: errorOf(thrown, called, requestId) }
}

/** An error that no function has thrown. */
export function failed(code: string, message: string): { readonly error: InvocationError } {
  return { error: { code, message } }
}

function errorOf(thrown: unknown, called: IiiFunction | undefined, requestId: string): InvocationError {
  if (!(thrown instanceof Fault)) {
    const error = AppError.from(thrown)
    if (error.code === 'internal') logFailure(`invocation ${called?.id ?? ''} of request ${requestId}`, error)
    if (called?.faults === false) return { code: error.code, message: error.message }
  }
  return handlerError(Fault.from(thrown))
}
