/** Makes the context of an invocation: its calls look to the functions behind `/v1/…` as requests do. */

import type { Call } from '../call.ts'
import type { Caller, Scope } from '../ports.ts'
import type { InvocationContext, Trace } from './context.ts'

/** Their URLs are made with the port that a caller came to, and an invocation came to none. */
const url = 'http://portico/iii'

export interface Origin {
  readonly principal: Caller
  readonly scope: Scope
  readonly requestId: string
  readonly trace: Trace
  readonly signal: AbortSignal
  makes(sandbox: string): void
}

export type Surroundings = Pick<InvocationContext, 'env' | 'objects' | 'services' | 'locks'>

export function contextOf(surroundings: Surroundings, origin: Origin): InvocationContext {
  const { env, objects, services } = surroundings
  const { principal, scope, requestId, trace, makes } = origin
  return {
    ...surroundings,
    ...origin,
    call<Body>(sandbox: string | null, body?: Body): Call<'key', Body> {
      return {
        request: new Request(url),
        env,
        objects,
        services,
        requestId,
        url: new URL(url),
        principal,
        scope,
        ...(trace.traceparent === undefined ? {} : { traceparent: trace.traceparent }),
        parameter: (name) => (name === 'id' ? (sandbox ?? '') : ''),
        subject: subjectOf(sandbox, makes),
        body: body as Body,
      }
    },
  }
}

/** Where the call names no sandbox, it tells here which one it makes. */
function subjectOf(sandbox: string | null, makes: (sandbox: string) => void): Call['subject'] {
  if (sandbox !== null) return { sandbox }
  let made: string | undefined
  return {
    get sandbox() {
      return made ?? ''
    },
    set sandbox(id) {
      made = id
      makes(id)
    },
  }
}
