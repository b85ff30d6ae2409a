/**
 * What a function gets besides its payload: who calls, and everything by which the functions behind `/v1/…` are called from here. One for each
 * invocation; it lives in the account's object and ends with the invocation.
 */

import type { Call, Services } from '../call.ts'
import type { Env } from '../env.ts'
import type { Caller, Objects, Scope } from '../ports.ts'
import type { ExecLocks } from './exec-locks.ts'

/** The headers of a trace, as the frame brought them; they come back in the answer. */
export interface Trace {
  readonly traceparent?: string
  readonly baggage?: string
}

export interface InvocationContext {
  readonly env: Env
  readonly objects: Objects
  readonly services: Services
  /** Account and region of the key that the worker came in with. */
  readonly principal: Caller
  readonly scope: Scope
  /** For logs, and for the calls that are made on its behalf. */
  readonly requestId: string
  readonly trace: Trace
  /** Aborted when the invocation is over: whatever still waits on its behalf ends with it. */
  readonly signal: AbortSignal
  /** Which sandboxes have a command under way. */
  readonly locks: ExecLocks
  /** Keeps with the invocation which sandbox it makes, before it is made: what is to be asked should the object be interrupted in the middle. */
  makes(sandbox: string): void
  /**
   * A call as the functions behind `/v1/…` and `callGuest` take it. `sandbox` is a run id (see `named-sandbox.ts`), or null where the call is about none;
   * `body` is what their schema would have parsed. Whatever `/v1` refuses is thrown as an AppError: leave it, the answer's S-code comes of it.
   */
  call<Body = undefined>(sandbox: string | null, body?: Body): Call<'key', Body>
}
