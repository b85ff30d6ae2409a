/** A command in a sandbox as the iii commands run it: its output is ours, its exit code ours, 124 where its time was over. */

import type { Sandbox } from '@portico/sdk'
import { NotFoundError } from '@portico/sdk/errors'
import { CommandError } from '../command-error.ts'
import { exitCodeFor, followProcess } from '../follow-process.ts'
import { lines } from '../output/failure.ts'
import { endedLate } from '../output/result.ts'
import { bufferBytes } from '../run-command.ts'
import type { Session } from '../session.ts'

interface GuestCommand {
  readonly env?: Readonly<Record<string, string>>
  readonly timeoutSec?: number | undefined
}

export function assertCommand(words: readonly string[]): void {
  if (words.length === 0)
    throw new CommandError('cannot run: no command is given', 'Put it after --, such as: -- python3 -c "print(1)"')
}

export async function runGuest(
  session: Session,
  sandbox: Sandbox,
  words: readonly string[],
  { env, timeoutSec }: GuestCommand = {},
): Promise<void> {
  const guest = await sandbox.spawn(words, { env, timeoutSec, bufferBytes, signal: session.signal })
  try {
    const exit = await followProcess(session, guest, { input: false })
    session.exitCode = exitCodeFor(exit)
    if (exit.timedOut && session.terminal.watched) await session.terminal.complain(endedLate(timeoutSec ?? 0))
  } finally {
    await guest.delete().catch(async (error: unknown) => {
      if (!(error instanceof NotFoundError)) await session.terminal.complain(lines(error, session.local))
    })
  }
}
