/**
 * The token of one sandbox: handed out while it is good for another 30 s, else renewed, and renewed when the sandbox has refused it. However many
 * calls want a new one, one request is under way for all of them.
 */

import { abortable } from '@portico/shared/dispose'
import type { CallOptions } from './wire.ts'

export interface IrisToken {
  readonly text: string
  /** Milliseconds since the epoch. */
  readonly endsAt: number
}

/** A token with less than this left is not used any more. */
export const renewBeforeMs = 30_000

export class Tokens {
  readonly #issue: () => Promise<IrisToken>
  readonly #now: () => number
  #held: IrisToken | undefined
  #renewal: Promise<IrisToken> | undefined

  constructor(held: IrisToken | undefined, issue: () => Promise<IrisToken>, now: () => number = Date.now) {
    this.#held = held
    this.#issue = issue
    this.#now = now
  }

  /** One to call with. */
  async current(options: CallOptions): Promise<string> {
    const held = this.#held
    if (held !== undefined && held.endsAt - this.#now() > renewBeforeMs) return held.text
    return await this.#renew(options)
  }

  /** One in place of `refused`; another call may have got it meanwhile. */
  async inPlaceOf(refused: string, options: CallOptions): Promise<string> {
    if (this.#held?.text === refused) this.#held = undefined
    return await this.current(options)
  }

  async #renew({ signal }: CallOptions): Promise<string> {
    this.#renewal ??= this.#issued()
    // The request goes on for the others when one call is given up.
    const { text } = await (signal === undefined ? this.#renewal : abortable(this.#renewal, signal))
    return text
  }

  async #issued(): Promise<IrisToken> {
    try {
      this.#held = await this.#issue()
      return this.#held
    } finally {
      this.#renewal = undefined
    }
  }
}
