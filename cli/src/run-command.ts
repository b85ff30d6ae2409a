/** A command in a sandbox as if it ran here: started, followed to its end, and its exit code ours. What becomes of it when we leave is the caller's to say. */

import type { GuestCommand, Process, Sandbox, SpawnOptions } from '@portico/sdk'
import type { GuestOptions } from './args/guest-command.ts'
import { exitCodeFor, followProcess } from './follow-process.ts'
import { endedLate } from './output/result.ts'
import type { Session } from './session.ts'

/** What a command may print before we have begun to read, in the sandbox's memory. */
export const bufferBytes = 16 * 2 ** 20

/** Starts it; an interrupt meanwhile ends it. */
export async function startCommand(
  session: Session,
  sandbox: Sandbox,
  command: GuestCommand,
  options: GuestOptions,
): Promise<Process> {
  return await sandbox.spawn(command, {
    ...surroundings(options),
    timeoutSec: options.timeout,
    stdinOpen: options.interactive,
    bufferBytes,
    signal: session.signal,
  })
}

/** Follows it to its end; rejects with an Interrupted when we are told to leave. */
export async function followCommand(session: Session, guest: Process, options: GuestOptions): Promise<void> {
  const exit = await followProcess(session, guest, { input: options.interactive === true })
  session.exitCode = exitCodeFor(exit)
  if (exit.timedOut) await session.terminal.complain(endedLate(options.timeout))
}

/** What it finds around itself. */
export function surroundings({ env, cwd, user }: GuestOptions): Pick<SpawnOptions, 'env' | 'cwd' | 'user'> {
  return { env, cwd, user }
}
