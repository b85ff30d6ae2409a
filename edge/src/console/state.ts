/** A console as its object keeps it, and what can be read off it. Pure. */

import type { ConsoleRecord, ProcessEnding } from '@portico/shared/api'
import type { WireError } from '@portico/shared/errors'
import type { Caller } from '../ports.ts'
import { consoleFrames } from './console-frames.ts'
import type { Adapter } from './frames.ts'
import { shellFrames } from './shell-frames.ts'
import { terminalFrames } from './terminal-frames.ts'

/** A console is there until it is deleted; a terminal and a shell live on without a socket for as long as was asked. */
export type ConsoleKind = 'console' | 'terminal' | 'shell'

export const adapters: Readonly<Record<ConsoleKind, Adapter>> = {
  console: consoleFrames,
  terminal: terminalFrames,
  shell: shellFrames,
}

export type Over =
  | { readonly kind: 'exited'; readonly ending: ProcessEnding }
  | { readonly kind: 'lost'; readonly error: WireError }

export interface ConsoleState extends Caller {
  readonly id: string
  readonly kind: ConsoleKind
  readonly run: string
  readonly process: string
  readonly name: string | null
  readonly cols: number
  readonly rows: number
  readonly createdAt: number
  /** How long it lives without a socket; null is for good. */
  readonly lingerMs: number | null
  /** When its last socket left; null while there is one. */
  readonly leftAt: number | null
  /** The offset where that one stood. */
  readonly stoodAt: number
  readonly over: Over | null
  readonly overAt: number | null
}

/** How long the output of one that is over can be looked at. */
export const keptAfterEndMs = 24 * 3_600_000
/** Nobody looks: its process's own buffer keeps what it prints from then on. */
export const restAfterMs = 30_000

/** The console as the API shows it. */
export function publicConsole(state: ConsoleState, viewers: number, ending?: ProcessEnding): ConsoleRecord {
  const { id, run, process, name, cols, rows, over, createdAt } = state
  const ended = over?.kind === 'exited' ? over.ending : ending
  return {
    id,
    run,
    process,
    ...(name === null ? {} : { name }),
    cols,
    rows,
    state: over?.kind === 'lost' ? 'lost' : ended === undefined ? 'running' : 'exited',
    ...(ended === undefined ? {} : { exit_code: ended.exit_code }),
    viewers,
    created_at: new Date(createdAt).toISOString(),
  }
}

/** What the alarm looks after, besides what is stored. */
export interface Pursuit {
  /** Whether the process is followed now. */
  readonly isActive: boolean
  readonly retryAt: number
  /** When the end of one that nobody looks at is tried again. */
  readonly endAt: number
}

/** A process that is followed is looked after this often, as an eviction may have ended that. */
const watchMs = 30_000

/** When the alarm goes off next; undefined while nothing is due. */
export function nextAlarm(state: ConsoleState, now: number, { isActive, retryAt, endAt }: Pursuit): number | undefined {
  const { overAt, leftAt, lingerMs } = state
  if (overAt !== null) return overAt + keptAfterEndMs
  const restAt = leftAt === null ? Number.POSITIVE_INFINITY : leftAt + restAfterMs
  const due: number[] = []
  if (leftAt !== null && lingerMs !== null) due.push(Math.max(leftAt + lingerMs, endAt))
  if (isActive) due.push(Math.min(now + watchMs, Math.max(now, restAt)))
  else if (now < restAt) due.push(Math.max(now, retryAt))
  return due.length === 0 ? undefined : Math.min(...due)
}
