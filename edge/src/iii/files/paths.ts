/** Paths and modes of payloads, and what the agent is asked before something is made below a path. */

import { fileExists } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { KeyCall } from '../../call.ts'
import { askGuest } from '../../process/ask.ts'
import { Fault } from '../errors.ts'

/** As long as the kernel takes one. */
const longestPath = 4096

/** Absolute, or S210. Dots in it lead nowhere but inside of the sandbox. */
export function absolute(path: string, name = 'path'): string {
  if (path.length > longestPath) throw new Fault('S210', `${name} is longer than ${longestPath} characters`)
  if (path.startsWith('/') && !path.includes('\0')) return path
  throw new Fault('S210', `${name} must be absolute: ${path.slice(0, 200)}`)
}

/** Octal digits such as `0644`, or S210. */
export function octal(mode: string): string {
  if (/^0?[0-7]{3,4}$/.test(mode)) return mode
  throw new Fault('S210', `mode must be octal, such as 0644: ${mode.slice(0, 50)}`)
}

/** The mode as iii spells it. */
export function spelledMode(mode: string): string {
  return mode.padStart(4, '0')
}

/** Seconds since 1970. */
export function secondsOf(moment: string): number {
  const at = Date.parse(moment)
  return Number.isNaN(at) ? 0 : Math.floor(at / 1000)
}

export type Entry = 'file' | 'directory' | 'symlink' | 'other'

/** What is at the path; null if nothing is. */
export async function entryAt(call: KeyCall, id: string, path: string): Promise<Entry | null> {
  const question = { method: 'GET', path: `/files/exists?${new URLSearchParams({ path })}` } as const
  const { exists, entry_type = 'other' } = await askGuest(call, id, question, fileExists)
  return exists ? entry_type : null
}

/** The agent makes directories above whatever it makes; iii does not, unless told. `fix` is the change of the payload that tells it. */
export async function assertParent(
  call: KeyCall,
  id: string,
  path: string,
  fix: Readonly<Record<string, unknown>> | null,
): Promise<void> {
  const parent = parentOf(path)
  const entry = parent === '/' ? 'directory' : await entryAt(call, id, parent)
  if (entry === 'file' || entry === 'other') throw new Fault('S212', `not a directory: ${parent}`)
  if (entry === null) throw missingParent(path, fix)
}

export function missingParent(path: string, fix: Readonly<Record<string, unknown>> | null): Fault {
  return new Fault('S211', `parent directory does not exist: ${parentOf(path)}`, fix)
}

/** The directory of a path. */
export function parentOf(path: string): string {
  const trimmed = path.replace(/\/+$/, '')
  const slash = trimmed.lastIndexOf('/')
  return slash <= 0 ? '/' : trimmed.slice(0, slash)
}

/** Whether somebody else's code says that nothing is there. */
export function isMissing(thrown: unknown): boolean {
  return thrown instanceof AppError && thrown.code === 'file_not_found'
}
