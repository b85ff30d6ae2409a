/** What sandboxes have used, asked for few at a time. */

import type { Sandbox, SandboxUsage } from '@portico/sdk'
import { ConflictError, NotFoundError } from '@portico/sdk/errors'
import { failed } from '../exit-codes.ts'
import { lines } from '../output/failure.ts'
import type { Session } from '../session.ts'

/** Calls under way at a time: a table of many sandboxes is no flood for their runners. */
const atATime = 8

/** The usage of those that run, by their ids. One that has ended or fallen asleep meanwhile has none; any other failure is told. */
export async function usages(
  session: Session,
  sandboxes: readonly Sandbox[],
): Promise<ReadonlyMap<string, SandboxUsage>> {
  const found = new Map<string, SandboxUsage>()
  const failures = new Set<string>()
  const waiting = sandboxes.filter(({ status }) => status === 'running').values()
  const lane = async () => {
    for (const sandbox of waiting) {
      try {
        found.set(sandbox.id, await sandbox.usage({ signal: session.signal }))
      } catch (error) {
        session.signal.throwIfAborted()
        if (!(error instanceof NotFoundError || error instanceof ConflictError))
          failures.add(lines(error, session.local))
      }
    }
  }
  await Promise.all(Array.from({ length: atATime }, lane))
  if (failures.size > 0) session.exitCode = failed
  for (const text of failures) await session.terminal.complain(text)
  return found
}
