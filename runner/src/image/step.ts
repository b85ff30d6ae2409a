/** One program of a pull, in its jail, and how its failure is told. */

import { AppError } from '@portico/shared/errors'
import { run } from '../process/run.ts'
import { type ConfinedOptions, confinedArguments } from './confined.ts'
import type { ImageTools } from './tools.ts'

export interface StepOptions {
  readonly tools: ImageTools
  /** As it stands in messages. */
  readonly what: string
  readonly folder: string
  readonly signal: AbortSignal
  readonly onBytes: (done: number, total: number) => void
}

export const stepLimitMs = 30 * 60_000

export async function inJail(
  options: StepOptions,
  program: readonly string[],
  jail: Omit<ConfinedOptions, 'folder'> & { onStdout?: (text: string) => void },
) {
  const { tools, folder, signal } = options
  const { onStdout, ...confined } = jail
  const command = confinedArguments({ folder, ...confined }, program)
  return await run(tools.bwrap, command, { signal, limitMs: stepLimitMs, ...(onStdout ? { onStdout } : {}) })
}

export function noSpace(what: string, why: string): AppError {
  return new AppError('image_no_space', `cannot pull ${what}: ${why}`)
}

export function failure(step: string, what: string, stderr: string): AppError {
  if (/no space left on device/i.test(stderr)) return noSpace(what, 'the disk is full')
  return new AppError('internal', `cannot pull ${what}: cannot ${step}`, { cause: stderr.trim().slice(-1000) })
}

export function hexOf(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1)
}
