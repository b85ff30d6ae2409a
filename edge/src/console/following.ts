/**
 * Following a console's process: connects its attachment, and says what each end of a connection means. It sets no timer: whoever owns it tries again
 * at `retryAt`, from an alarm.
 *
 *   apart ──follow──▶ following ──cut, asleep──▶ apart, until retryAt          any ──the process ended, or is gone──▶ over
 *     ▲                    └──leave──┐
 *     └──────────────────────────────┘
 *
 * It wakes no sandbox that sleeps, unless somebody uses the console.
 */

import type { Clock } from '@portico/shared/clock'
import { AppError, type WireError } from '@portico/shared/errors'
import type { Attachment } from './attachment.ts'
import type { Reachable } from './guest-line.ts'
import type { Over } from './state.ts'

/** How often it is looked whether a sandbox that sleeps can be reached again. */
const asleepMs = 5_000
/** Whether a sandbox that its runner does not have is gone for good, its own object says at the next look. */
const missingMs = 1_000

export interface FollowingOptions {
  readonly attachment: Attachment
  readonly reachable: () => Promise<Reachable>
  readonly clock: Clock
  readonly background: (work: Promise<unknown>) => void
  readonly onOver: (over: Over) => void
  /** It is not reached for now, and why. */
  readonly onApart: (reason: string) => void
  /** What was typed is refused. */
  readonly onRefused: (error: WireError) => void
  /** It follows no longer, for whatever reason. */
  readonly onStopped: () => void
}

export class Following {
  readonly #options: FollowingOptions
  #isActive = false
  #isUsed = false
  #isDoubted = false
  #isOver = false
  #retryAt = 0

  constructor(options: FollowingOptions) {
    this.#options = options
  }

  /** Whether it follows, or is about to. */
  get isActive(): boolean {
    return this.#isActive
  }

  /** When the next try is due. */
  get retryAt(): number {
    return this.#retryAt
  }

  /** Somebody uses the console: a sandbox that wakes on any use does now. */
  use(): void {
    if (this.#options.attachment.state !== 'apart') return
    this.#isUsed = true
    this.follow()
  }

  follow(): void {
    if (this.#isActive || this.#isOver) return
    this.#isActive = true
    this.#options.background(this.#run())
  }

  /** The sandbox can be reached from now on: a try that is still under way and fails is made again at once. */
  followAnew(): void {
    this.#isDoubted = this.#isActive
    this.follow()
  }

  /** The connection may have died in silence: it is given up, and the sandbox is looked at anew. */
  lookAgain(): void {
    if (!this.#isActive) return
    this.#isDoubted = true
    this.leave()
  }

  /** Lets the process alone. */
  leave(): void {
    this.#options.attachment.leave()
  }

  /** It is over: nothing is followed any more. */
  stop(): void {
    this.#isOver = true
    this.leave()
  }

  async #run(): Promise<void> {
    try {
      do {
        const isUse = this.#isUsed || this.#options.attachment.isUnanswered
        this.#isUsed = false
        this.#isDoubted = false
        await this.#connect(isUse)
      } while ((this.#isUsed || this.#isDoubted) && !this.#isOver)
    } finally {
      this.#isActive = false
      this.#options.onStopped()
    }
  }

  async #connect(isUse: boolean): Promise<void> {
    const { attachment, reachable, onOver } = this.#options
    try {
      const state = isUse ? 'running' : await reachable()
      if (state === 'gone') return onOver({ kind: 'lost', error: goneSandbox })
      if (state === 'asleep') return this.#apart(asleepMs, 'the sandbox is not running')
      const end = await attachment.connect()
      if (end.kind === 'over') onOver({ kind: 'exited', ending: end.ending })
      if (end.kind === 'cut') this.#cut(end.error)
    } catch (thrown) {
      this.#cut(AppError.from(thrown))
    }
  }

  #cut(error: AppError): void {
    const { attachment, onOver, onRefused } = this.#options
    switch (error.code) {
      case 'not_found':
        onOver({ kind: 'lost', error: error.toWire() })
        break
      case 'sandbox_hibernated':
      case 'sandbox_not_running':
        // What was typed is not kept for a day on which somebody may resume it.
        attachment.forgetInput()
        onRefused(error.toWire())
        this.#apart(asleepMs, error.message)
        break
      case 'sandbox_not_found':
        this.#apart(missingMs, error.message)
        break
      default:
        this.#apart(attachment.retryMs(), error.message)
    }
  }

  #apart(retryMs: number, reason: string): void {
    this.#retryAt = this.#options.clock.now() + retryMs
    this.#options.onApart(reason)
  }
}

export const goneSandbox: WireError = {
  code: 'sandbox_not_found',
  message: 'cannot go on with the console: its sandbox is gone',
}
