/** What is asked of a sandbox, what it tells, and the words for a refusal. */

import type { SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import type { SandboxRequest, SandboxState } from '@portico/shared/lifecycle'
import type { Usage } from '@portico/shared/usage'
import type { Origin, SandboxContext } from './birth.ts'
import type { SandboxRecord } from './record.ts'
import type {
  Answer,
  AskedToCheckpoint,
  AskedToCopy,
  AskedToHibernate,
  AskedToResume,
  AskedToRevert,
  EndCause,
} from './work.ts'

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

export interface SandboxOptions {
  readonly id: string
  readonly generation: number
  readonly spec: SandboxSpec
  /** As far as it is known: an image that is brought first says itself what it is. */
  readonly resolvedImage: string
  /** Where its machine comes from; without one it has none, as its record says. */
  readonly origin?: Origin
  /** What an earlier process of the runner wrote. */
  readonly record?: SandboxRecord
  readonly context: SandboxContext
  readonly onChange: (change: StateChange) => void
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
export type AskedToWork = AskedToCopy | AskedToCheckpoint | AskedToRevert | AskedToHibernate | AskedToResume

export type Asked = AskedToUpdate | AskedToDestroy | AskedToWork

/** As what it is allowed or refused: a checkpoint is made and restored where the sandbox could be copied. */
export function requestOf({ kind }: AskedToWork): SandboxRequest {
  return kind === 'checkpoint' || kind === 'revert' ? 'copy' : kind
}

/** Whether a creation that failed so leaves nothing to be destroyed: nothing of it ever came to be. */
export function isAsIfNever(error: unknown): boolean {
  return error instanceof AppError && (error.code === 'capacity' || error.code.startsWith('image_'))
}

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
