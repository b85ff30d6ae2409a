/** Delays between tries: they double from `firstMs` up to `maxMs`, each shortened at random by up to half, so that a fleet does not come back all at once. */

export interface BackoffOptions {
  readonly firstMs: number
  readonly maxMs: number
  /** A number in [0, 1); `Math.random` unless told. */
  readonly random?: () => number
}

export class Backoff {
  #tries = 0
  readonly #options: BackoffOptions

  constructor(options: BackoffOptions) {
    this.#options = options
  }

  /** Milliseconds to wait before the next try: between half the step and the step. */
  next(): number {
    const { firstMs, maxMs, random = Math.random } = this.#options
    const step = Math.min(maxMs, firstMs * 2 ** Math.min(this.#tries++, 30))
    return Math.round(step / 2 + (step / 2) * random())
  }

  /** After a success the next delay is the first again. */
  reset(): void {
    this.#tries = 0
  }
}
