/** How a process ended, as its agent says it. */

import { type ProcessEnding, processEnding } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'

/** Throws `guest_error` for what no agent says. */
export function readEnding(json: string): ProcessEnding {
  try {
    return processEnding.parse(JSON.parse(json))
  } catch {
    throw new AppError('guest_error', 'cannot read the output of the process: its end is malformed')
  }
}
