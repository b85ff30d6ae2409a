/**
 * The life of one call: a signal that aborts when the caller's signal does, when the client is closed or when the limit has passed. Whoever opens a scope
 * ends it; then nothing of it is left on the signals it listened to, which may live much longer.
 */

import { TimeoutError } from './errors.ts'

/** What a timer can hold (24 days); a longer wait counts as this. */
const longest = 2 ** 31 - 1

export class CallScope {
  readonly #controller = new AbortController()
  readonly #undo: (() => void)[] = []
  readonly #doing: string
  #timer: ReturnType<typeof setTimeout> | undefined

  /** `doing` completes "cannot …" in the error of a limit that has passed. */
  constructor(doing: string, ...signals: (AbortSignal | undefined)[]) {
    this.#doing = doing
    for (const signal of signals) if (signal) this.#follow(signal)
  }

  get signal(): AbortSignal {
    return this.#controller.signal
  }

  /** From now on the scope has `ms` milliseconds; replaces the limit that was in force. */
  limit(ms: number): void {
    this.unlimited()
    const late = () => this.#controller.abort(tooLate(this.#doing, ms))
    this.#timer = setTimeout(late, Math.min(ms, longest))
  }

  /** Nothing is being waited for, so no limit runs. */
  unlimited(): void {
    clearTimeout(this.#timer)
  }

  /** Lets go of timer and signals. The scope's own signal stays as it is. */
  end(): void {
    this.unlimited()
    for (const undo of this.#undo.splice(0)) undo()
  }

  #follow(signal: AbortSignal): void {
    const onAbort = () => this.#controller.abort(signal.reason)
    if (signal.aborted) {
      onAbort()
      return
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#undo.push(() => signal.removeEventListener('abort', onAbort))
  }
}

function tooLate(doing: string, ms: number): TimeoutError {
  const message = `cannot ${doing}: no answer within ${Math.round(ms / 1000)} s`
  return new TimeoutError({ code: 'deadline', message, status: 0, retryable: true })
}
