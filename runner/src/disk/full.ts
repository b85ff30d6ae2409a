/** How a runner's disk that is full is told: not as a fault, but as something that whoever asked can wait for or make room for. */

import { statfs } from 'node:fs/promises'
import { AppError } from '@portico/shared/errors'

const codes: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT'])
/** No step of saving or starting a machine gets by with less. */
const leastBytes = 2 ** 20

/** Bytes that can still be written in `folder`. */
export async function roomIn(folder: string): Promise<number> {
  const { bavail, bsize } = await statfs(folder)
  return bavail * bsize
}

export function diskFull(what: string, cause?: unknown): AppError {
  return new AppError('capacity', `cannot ${what}: this runner's disk is full`, { cause })
}

/** `error`, or what it is where the kernel said that the disk is full. */
export function orDiskFull(error: unknown, what: string): unknown {
  return codes.has((error as { code?: unknown } | undefined)?.code) ? diskFull(what, error) : error
}

/** The same for what other programs failed at, too: they do not say why. To be asked before anything in `folder` is freed. */
export async function orNoRoom(error: unknown, what: string, folder: string): Promise<unknown> {
  if (!(error instanceof AppError)) return orDiskFull(error, what)
  if (error.code !== 'internal') return error
  const room = await roomIn(folder).catch(() => leastBytes)
  return room < leastBytes ? diskFull(what, error) : error
}
