/** The sandbox that a payload names by its UUID, and what is said where there is none. */

import { AppError } from '@portico/shared/errors'
import { type SandboxId, sandboxIdOfUuid } from '@portico/shared/ids'
import { reach } from '../platform-errors.ts'
import type { InvocationContext } from './context.ts'
import { Fault } from './errors.ts'

/** The run id behind `sandbox_id`; S001 for what is no UUID. Whether there is such a sandbox is not known yet. */
export function sandboxIdOf(given: string): SandboxId {
  const id = sandboxIdOfUuid(given)
  if (id !== undefined) return id
  throw new Fault('S001', `sandbox_id is not a valid UUID: ${given.slice(0, 100)}`)
}

/**
 * Works in the sandbox that `given` names. S001 for what is no UUID, S004 if it was the caller's and is over, S002 if it never was or is somebody else's;
 * whatever else `work` throws is thrown on.
 */
export async function inSandbox<Value>(
  context: InvocationContext,
  given: string,
  work: (id: SandboxId) => Promise<Value>,
): Promise<Value> {
  const id = sandboxIdOf(given)
  try {
    return await work(id)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || !isOver.has(thrown.code)) throw thrown
    if (thrown.code !== 'sandbox_not_found') throw new Fault('S004', `sandbox is stopped: ${given}`)
    throw (await wasTheirs(context, id)) ? new Fault('S004', `sandbox is stopped: ${given}`) : unknownSandbox(given)
  }
}

const isOver: ReadonlySet<string> = new Set(['sandbox_not_found', 'sandbox_failed', 'sandbox_lost'])

/** S002. */
export function unknownSandbox(given: string): Fault {
  return new Fault('S002', `sandbox not found: ${given.slice(0, 100)}`)
}

/** The audit log of a sandbox that is over is still its owner's: that tells it from one that never was. */
async function wasTheirs({ objects, principal }: InvocationContext, id: SandboxId): Promise<boolean> {
  return (await reach('find the sandbox', objects.sandbox(id).note(principal, []))).ok
}
