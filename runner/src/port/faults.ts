/** What goes wrong between the runner and a server in a sandbox, as errors of the table. Nothing of the server's own text goes into them. */

import type { Duplex } from 'node:stream'
import { AppError } from '@portico/shared/errors'

/** The connection knows better than the parser, which only saw its input end. */
export function serverFault(error: unknown, duplex: Duplex): AppError {
  if (error instanceof AppError) return error
  if (duplex.errored instanceof AppError) return duplex.errored
  const { code = '' } = error as NodeJS.ErrnoException
  if (code === 'HPE_HEADER_OVERFLOW') return unusable('its head is too long', error)
  if (code.startsWith('HPE_')) return unusable('it is not HTTP', error)
  if (code === 'ECONNRESET' || code === 'ERR_STREAM_PREMATURE_CLOSE') return unusable('it ended early', error)
  if (code === 'ERR_HTTP_CONTENT_LENGTH_MISMATCH') return refused('its body is not as long as it says')
  if (code === 'ERR_UNESCAPED_CHARACTERS' || code === 'ERR_INVALID_CHAR' || code === 'ERR_INVALID_HTTP_TOKEN')
    return refused('it holds characters that HTTP does not')
  return AppError.from(error)
}

export function unusable(why: string, cause?: unknown): AppError {
  return new AppError('guest_error', `cannot use the answer of the server in the sandbox: ${why}`, { cause })
}

export function refused(why: string): AppError {
  return new AppError('invalid_request', `cannot send the request to the sandbox: ${why}`)
}
