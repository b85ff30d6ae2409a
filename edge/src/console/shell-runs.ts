/**
 * The commands that were given to a shell, each of them once. They go to the agent one after the other, in the order in which they came. Where a call's
 * outcome is not known, the output is read as far as it goes by now: a command that was taken has left its mark there, or still waits in the agent,
 * which does not take it twice. A name counts once in a session: given again it is not run again, and its exit is told again.
 *
 *   given ──call──▶ taken ──mark──▶ started ──mark──▶ ended
 *     ▲               │ outcome unknown: output read up to its end, no mark
 *     └───────────────┘
 */

import { AppError, type ErrorCode, type WireError } from '@portico/shared/errors'
import type { ProcessWire } from './attachment.ts'
import type { Chunk } from './frames.ts'
import { readMark, type ShellMark } from './shell-mark.ts'

/** After these the agent may or may not have the command. */
const unknown: readonly ErrorCode[] = [
  'runner_disconnected',
  'guest_disconnected',
  'overloaded',
  'deadline',
  'cancelled',
]
const mostTries = 8
/** Names that are remembered. */
const mostNames = 10_000

export interface ShellRunsOptions {
  readonly wire: ProcessWire
  /** The marks that are kept. */
  readonly marks: () => readonly Chunk[]
  /** Reads the output up to where it ends now. Throws if that cannot be done in time. */
  readonly caughtUp: () => Promise<void>
  readonly onRefused: (run: string, error: WireError) => void
}

export class ShellRuns {
  readonly #options: ShellRunsOptions
  #known: Map<string, ShellMark | 'given'> | undefined
  #chain: Promise<void> = Promise.resolve()

  constructor(options: ShellRunsOptions) {
    this.#options = options
  }

  /** A mark came by; answers the command that runs from here on. */
  marked(mark: ShellMark): string | null {
    this.#names.set(mark.run, mark)
    return mark.state === 'started' ? mark.run : null
  }

  /** The mark of a command that is over. */
  ended(run: string): ShellMark | undefined {
    const known = this.#names.get(run)
    return known === 'given' || known?.state !== 'ended' ? undefined : known
  }

  /** Gives a command to the shell, unless it was given already. */
  give(run: string, command: string): Promise<void> {
    if (this.#names.has(run)) return this.#chain
    this.#names.set(run, 'given')
    this.#chain = this.#chain.then(() => this.#give(run, command))
    return this.#chain
  }

  async #give(run: string, command: string): Promise<void> {
    for (let left = mostTries; ; left--) {
      try {
        await this.#options.wire.run(run, command)
        return
      } catch (thrown) {
        const error = AppError.from(thrown)
        const isUnknown = unknown.includes(error.code) && left > 1
        if (isUnknown && (await this.#isCaughtUp())) {
          if (this.#names.get(run) !== 'given') return
          continue
        }
        this.#names.delete(run)
        return this.#options.onRefused(run, error.toWire())
      }
    }
  }

  async #isCaughtUp(): Promise<boolean> {
    return this.#options.caughtUp().then(
      () => true,
      () => false,
    )
  }

  /** By name; after a sleep what the kept marks tell. */
  get #names(): Map<string, ShellMark | 'given'> {
    if (this.#known === undefined) {
      this.#known = new Map()
      for (const chunk of this.#options.marks()) {
        const mark = readMark(chunk)
        if (mark !== undefined) this.#known.set(mark.run, mark)
      }
    }
    if (this.#known.size > mostNames) {
      for (const [name, known] of this.#known) {
        if (this.#known.size <= mostNames / 2) break
        if (known !== 'given' && known.state === 'ended') this.#known.delete(name)
      }
    }
    return this.#known
  }
}
