/** What is asked of a sandbox, what it tells, and the words for a refusal. */

import type { SandboxRequest, SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { Answer, AskedToCopy, AskedToHibernate, AskedToResume, EndCause } from './work.ts'

export interface Created {
  readonly resolvedImage: string
  readonly createMs: number
}

/** What a sandbox tells when its state changes. */
export interface StateChange {
  readonly sandbox: string
  readonly generation: number
  readonly state: SandboxState
  /** It happened without being asked for: somebody has to be told. */
  readonly byItself: boolean
  readonly reason?: string
  readonly usage?: Usage
}

export interface AskedToUpdate {
  readonly kind: 'update'
  readonly seconds: number
  readonly answer: Answer<void>
}

export interface AskedToDestroy {
  readonly kind: 'destroy'
  readonly cause: EndCause
  readonly answer: Answer<Usage>
}

/** What begins work beside the loop. */
export type AskedToWork = AskedToCopy | AskedToHibernate | AskedToResume

export type Asked = AskedToUpdate | AskedToDestroy | AskedToWork

/** The code of a refusal. */
export function codeOf(
  state: SandboxState,
  asked: SandboxRequest,
): 'sandbox_failed' | 'sandbox_hibernated' | 'sandbox_not_running' {
  if (state === 'error') return 'sandbox_failed'
  const asleep = state === 'hibernating' || state === 'hibernated' || state === 'resuming'
  return asleep && (asked === 'use' || asked === 'copy') ? 'sandbox_hibernated' : 'sandbox_not_running'
}

/** Why it ended, where that needs saying. */
export function endReason(cause: EndCause, idleSeconds: number): string | undefined {
  switch (cause) {
    case 'asked':
      return undefined
    case 'idle':
      return `idle for ${idleSeconds} s`
    case 'drain':
      return 'its runner was stopped'
  }
}
