/** Runs a program of the CLI on our command line, and ends the process with its exit code. */

import type { Command } from 'commander'
import { failureOf } from './output/failure.ts'
import type { Session } from './session.ts'

export async function runProgram({ program, session }: { program: Command; session: Session }): Promise<never> {
  try {
    await program.parseAsync(process.argv.slice(2), { from: 'user' })
  } catch (error) {
    await session.progress.clear()
    const { text, exitCode } = failureOf(error, session.local)
    await session.terminal.complain(text)
    session.exitCode = exitCode
  }
  await session.progress.clear()
  await session.terminal.flush()
  // All has been said and done; a socket that its other side has yet to hang up is nothing to wait for.
  process.exit(session.exitCode)
}
