/**
 * Ctrl-C and its relatives. The first signal aborts `signal`, with which every call ends and everything that was made is freed; a second one gives up
 * and ends the process at once. Two of a kind within half a second are one: a terminal's Ctrl-C reaches us both directly and through `bin/portico.js`.
 */

import { endedBy } from './exit-codes.ts'

const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const

export type SignalName = (typeof names)[number]

/** The reason of what a signal ended. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
  readonly by: SignalName

  constructor(by: SignalName) {
    super(`cannot go on: ended by ${by}`)
    this.by = by
  }
}

const oneMs = 500

export class Interrupt {
  readonly #controller = new AbortController()
  readonly #last = new Map<SignalName, number>()
  #handle = (name: SignalName): void => {
    if (this.#controller.signal.aborted) process.exit(endedBy(name))
    this.#controller.abort(new Interrupted(name))
  }

  constructor() {
    for (const name of names) process.on(name, () => this.#arrive(name))
  }

  /** Aborts with an Interrupted on the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on every signal goes to `handle` and does nothing else, until the answer is disposed of. */
  divert(handle: (name: SignalName) => void): Disposable {
    const before = this.#handle
    this.#handle = handle
    return {
      [Symbol.dispose]: () => {
        this.#handle = before
      },
    }
  }

  #arrive(name: SignalName): void {
    const now = performance.now()
    const before = this.#last.get(name)
    if (before !== undefined && now - before < oneMs) return
    this.#last.set(name, now)
    this.#handle(name)
  }
}
