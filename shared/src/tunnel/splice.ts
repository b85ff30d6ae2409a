/** Two streams joined into one: bytes that need no decision are handed on unparsed, each direction at the pace of its reader. */

import { AppError } from '../errors.ts'
import type { TunnelStream } from './types.ts'

/**
 * Copies each stream into the other. An END of one ends the other's same direction, a RESET or loss of one resets the other.
 * Both must be able to send: an accepted stream must have been answered. Resolves when both are over, with the error that ended them, if one did.
 */
export async function splice(first: TunnelStream, second: TunnelStream): Promise<AppError | undefined> {
  const carry = async (from: TunnelStream, to: TunnelStream) => {
    const error = await from.done
    if (error) to.reset(error)
    return error
  }
  const ends = [carry(first, second), carry(second, first)]
  await Promise.all([copy(first, second), copy(second, first)])
  const errors = await Promise.all(ends)
  return errors.find((error) => error !== undefined)
}

async function copy(from: TunnelStream, to: TunnelStream): Promise<void> {
  try {
    for (let bytes = await from.read(); bytes; bytes = await from.read()) await to.write(bytes)
    to.end()
  } catch (cause) {
    const error = AppError.from(cause)
    from.reset(error)
    to.reset(error)
  }
}
