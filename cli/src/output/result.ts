/** The result of a guest command: its text on our streams as it is, its exit code as ours. */

import type { ExecResult } from '@portico/sdk'
import { timedOut } from '../exit-codes.ts'
import { format } from './failure.ts'
import type { Terminal } from './terminal.ts'
import { elapsed } from './time.ts'

/** The guest's exit code, or 124 where its timeout ended it. */
export function exitCodeOf(result: ExecResult): number {
  return result.timedOut ? timedOut : result.exitCode
}

export async function printResult(terminal: Terminal, result: ExecResult, timeoutSec: number): Promise<void> {
  await terminal.print(result.stdout)
  await terminal.complain(result.stderr)
  const cut = [result.stdoutTruncated && 'standard output', result.stderrTruncated && 'standard error'].filter(Boolean)
  if (cut.length > 0) await terminal.complain(format(`the end of ${cut.join(' and ')} is missing: there was too much`))
  if (result.timedOut) await terminal.complain(endedLate(timeoutSec))
}

/** What is said of a command that its timeout ended. */
export function endedLate(timeoutSec: number): string {
  return format(`the command was ended after ${elapsed(timeoutSec * 1000)}`, 'Give it longer with --timeout.')
}
