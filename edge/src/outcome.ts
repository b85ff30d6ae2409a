/**
 * What one object answers to another. An exception loses its code on the way between objects, so failures that a caller
 * tells apart travel as values; whatever was not foreseen becomes `internal` here and its cause goes to the log.
 */

import { AppError, type WireError } from '@portico/shared/errors'
import { logFailure } from './log.ts'

export type Outcome<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: WireError }

/** Runs `work` and turns what it throws into a value. `what` names the work in the log. */
export async function outcome<Value>(what: string, work: () => Value | Promise<Value>): Promise<Outcome<Value>> {
  try {
    return { ok: true, value: await work() }
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code === 'internal') logFailure(what, error)
    return { ok: false, error: error.toWire() }
  }
}

/** The value, or its error thrown again. */
export function unwrap<Value>(result: Outcome<Value>): Value {
  if (result.ok) return result.value
  throw AppError.fromWire(result.error)
}
