/**
 * Watches for silence on a connection. One timer, moved lazily: what arrives only notes the time.
 *
 *   quiet ──`idleMs` without a byte──▶ asked ──`limitMs` more──▶ dead         asked ──a byte──▶ quiet
 */

import type { Clock } from '../clock.ts'

export interface SilenceOptions {
  readonly idleMs: number
  readonly limitMs: number
  readonly clock: Clock
  /** Asks the peer for a sign of life. */
  readonly ask: () => void
  /** The peer gave none. */
  readonly dead: () => void
}

export class Silence {
  readonly #options: SilenceOptions
  #heardAt: number
  #asked = false
  #cancel: () => void

  constructor(options: SilenceOptions) {
    this.#options = options
    this.#heardAt = options.clock.now()
    this.#cancel = this.#check(options.idleMs)
  }

  /** Something arrived. */
  heard(): void {
    this.#heardAt = this.#options.clock.now()
    this.#asked = false
  }

  stop(): void {
    this.#cancel()
  }

  #check(afterMs: number): () => void {
    return this.#options.clock.after(Math.max(1, afterMs), () => this.#look())
  }

  #look(): void {
    const { clock, idleMs, limitMs, ask, dead } = this.#options
    const silentMs = clock.now() - this.#heardAt
    if (this.#asked && silentMs >= idleMs + limitMs) {
      dead()
      return
    }
    if (!this.#asked && silentMs >= idleMs) {
      this.#asked = true
      ask()
    }
    this.#cancel = this.#check((this.#asked ? idleMs + limitMs : idleMs) - silentMs)
  }
}
