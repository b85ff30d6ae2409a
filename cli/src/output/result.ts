/** How a guest command ended: its exit code as ours, and what is said of one that was ended. */

import type { ExecResult } from '@portico/sdk'
import { timedOut } from '../exit-codes.ts'
import { format } from './failure.ts'
import { elapsed } from './time.ts'

/** The guest's exit code, or 124 where its timeout ended it. */
export function exitCodeOf(result: ExecResult): number {
  return result.timedOut ? timedOut : result.exitCode
}

/** What is said of a command that its timeout ended. */
export function endedLate(timeoutSec: number): string {
  return format(`the command was ended after ${elapsed(timeoutSec * 1000)}`, 'Give it longer with --timeout.')
}
