/** How an error ends the program: one line, a hint, an exit code; never a stack. */

import { PorticoError } from '@portico/sdk/errors'
import { CommanderError } from 'commander'
import { CommandError } from '../command-error.ts'
import { endedBy, failed } from '../exit-codes.ts'
import { Interrupted } from '../interrupt.ts'
import { printable } from './table.ts'

export interface Failure {
  /** What to print on standard error; empty where all has been said. */
  readonly text: string
  readonly exitCode: number
}

/** `local` says that the platform was found by itself, on this machine. */
export function failureOf(error: unknown, local = false): Failure {
  if (error instanceof Interrupted) return { text: '', exitCode: endedBy(error.by) }
  // Commander has printed help, version or what is wrong with the command line.
  if (error instanceof CommanderError) return { text: '', exitCode: error.exitCode === 0 ? 0 : failed }
  return { text: lines(error, local), exitCode: failed }
}

/** The error's lines, for one that does not end the program. */
export function lines(error: unknown, local = false): string {
  if (error instanceof PorticoError) {
    const hint = ours(error.code, local) ?? error.hint
    const id = error.code === 'internal' ? error.requestId : undefined
    return format(error.message, id === undefined ? hint : `${hint ?? 'Report the request id.'} (${id})`)
  }
  if (error instanceof CommandError) return format(error.message, error.hint)
  return format(`cannot go on: ${error instanceof Error ? error.message : String(error)}`)
}

/** What to do about an error where that is another command of ours. */
function ours(code: string, local: boolean): string | undefined {
  if (code === 'unreachable' && local) return 'Start the local platform with `portico up`.'
  if (code === 'sandbox_hibernated') return 'Wake it with `portico resume`, or create sandboxes with --auto-resume.'
  if (code === 'snapshot_not_found') return '`portico snapshots` shows those that exist.'
  if (code === 'checkpoint_not_found') return '`portico checkpoint list` shows those that exist.'
  if (code === 'service_not_found') return '`portico service list` shows those that exist.'
  if (code === 'service_failed') return '`portico service logs` and `portico service status` say more.'
  return undefined
}

/** `portico: …`, and `hint: …` below. */
export function format(message: string, hint?: string): string {
  const first = `portico: ${printable(message.replaceAll(/\s*\n\s*/g, ' '))}\n`
  return hint === undefined ? first : `${first}hint: ${printable(hint)}\n`
}
