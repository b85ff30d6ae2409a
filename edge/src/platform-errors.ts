/** Exceptions of the platform, told apart in this one place: by their documented flags first, by their text only where there is no flag. */

import { AppError } from '@portico/shared/errors'

/** What a failed call of an object means for the caller. `action` completes "cannot …". */
export function fromPlatform(thrown: unknown, action: string): AppError {
  if (thrown instanceof AppError) return thrown
  const flags = flagsOf(thrown)
  if (flags.overloaded) {
    return new AppError('overloaded', `cannot ${action}: too many requests at once`, { cause: thrown })
  }
  if (flags.retryable || flags.reset || flags.lost) {
    return new AppError('overloaded', `cannot ${action}: the platform interrupted it; try again`, { cause: thrown })
  }
  return new AppError('internal', `cannot ${action}: something went wrong on our side`, { cause: thrown })
}

interface Flags {
  readonly overloaded: boolean
  readonly retryable: boolean
  readonly reset: boolean
  readonly lost: boolean
}

function flagsOf(thrown: unknown): Flags {
  const value = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as Record<string, unknown>
  return {
    overloaded: value.overloaded === true,
    retryable: value.retryable === true,
    reset: value.durableObjectReset === true,
    lost: typeof value.message === 'string' && /network connection lost|reset because|aborted/i.test(value.message),
  }
}

/** Awaits a call of an object and translates the platform's exceptions. */
export async function reach<Value>(action: string, call: Promise<Value>): Promise<Value> {
  try {
    return await call
  } catch (thrown) {
    throw fromPlatform(thrown, action)
  }
}
