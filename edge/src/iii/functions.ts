/** What a function is that a worker may invoke. All of them stand in `table.ts`. */

import type { z } from 'zod'
import type { Need } from '../routes/row.ts'
import type { InvocationContext } from './context.ts'

/**
 * A payload that does not fit the schema is answered `invocation_failed: serialization error: …` and is no S-code: so a schema says shapes alone, and what
 * has an S-code of its own (S001, S210, …) the function checks by itself. What it throws is answered as a fault (`errors.ts`), what it returns as the result.
 */
export interface IiiFunction<Schema extends z.ZodType = z.ZodType> {
  readonly id: `${string}::${string}`
  readonly needs: Need
  readonly schema: Schema
  /** Whether what it throws carries an S-code; true unless told. Errors of `engine::…` have the codes of our table. */
  readonly faults?: false
  handle(payload: z.output<Schema>, context: InvocationContext): Promise<unknown>
  /**
   * How it ends after its object was interrupted in the middle: `sandbox` is what it was making, null if it had not come so far. Without this it ends with an
   * error that says so.
   */
  interrupted?(sandbox: string | null, context: InvocationContext): Promise<unknown>
}

/** Checks a function where it is written, and then forgets its particulars, so that functions fit into one table. */
export function iiiFunction<const Schema extends z.ZodType>(given: IiiFunction<Schema>): IiiFunction {
  return given as unknown as IiiFunction
}
