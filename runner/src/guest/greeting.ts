/**
 * How a session with an agent starts on the runner's side, byte by byte; the rules are those of `docs/protocol.md`, "Starting".
 *
 *   searching ──preamble──▶ met ──their HELLO──▶ answering ──any other byte──▶ agreed
 *        ▲                   └─────────a preamble─────┘ │
 *        └──────────────────────────────────────────────┘
 *
 * Until an agent has seen the echo of its random bytes it sends nothing but preambles and HELLOs. So one byte of anything else says that it has; until
 * then it may begin anew, because of a flush that was on its way. It holds no timer and no socket; all it is given is hostile.
 */

import { AppError } from '@portico/shared/errors'
import { type Hello, PreambleFinder, preambleMark, takeHello } from '@portico/shared/tunnel'

/** What to answer: these random bytes, our HELLO, and a PING if the start must be sure. */
export interface Greeted {
  readonly nonce: Uint8Array
  readonly hello: Hello
}

/** An agent begins anew at most twice, as there is one flush. */
const maxPreambles = 8

const nothing: Uint8Array = new Uint8Array(0)

export class Greeting {
  readonly #onGreeted: (greeted: Greeted) => void
  #sure = false
  #finder = new PreambleFinder()
  #nonce: Uint8Array | undefined
  #answered = false
  #kept: Uint8Array = nothing
  #preambles = 0

  /** Calls `onGreeted` for each HELLO to answer. */
  constructor(onGreeted: (greeted: Greeted) => void) {
    this.#onGreeted = onGreeted
  }

  /** A flush is on its way: from now on it is over only when the agent is known to have seen the answer. */
  flushed(): void {
    this.#sure = true
  }

  get sure(): boolean {
    return this.#sure
  }

  /** Takes what arrived. Answers with the bytes that follow the start, once it is over. Throws `protocol_error`. */
  push(chunk: Uint8Array): Uint8Array | undefined {
    for (let bytes = chunk; ; ) {
      if (!this.#nonce) {
        const found = this.#finder.push(bytes)
        if (!found) return undefined
        this.#met(found.nonce)
        bytes = found.rest
      }
      this.#kept = this.#kept.length > 0 ? Buffer.concat([this.#kept, bytes]) : bytes
      if (this.#kept[0] === preambleMark[0] && (this.#sure || !this.#answered)) bytes = this.#beginAnew()
      else if (this.#answered) return this.#kept.length > 0 ? this.#kept : undefined
      else if (!this.#answer()) return undefined
      else if (!this.#sure) return this.#kept
      else bytes = nothing
    }
  }

  #met(nonce: Uint8Array): void {
    this.#preambles++
    if (this.#preambles > maxPreambles) throw wrong('its agent begins again and again')
    this.#nonce = nonce
    this.#answered = false
  }

  #beginAnew(): Uint8Array {
    const bytes = this.#kept
    this.#finder = new PreambleFinder()
    this.#nonce = undefined
    this.#kept = nothing
    return bytes
  }

  /** Answers the HELLO that `kept` begins with, if it is whole. */
  #answer(): boolean {
    const taken = takeHello(this.#kept)
    if (!taken) return false
    this.#kept = taken.rest
    this.#answered = true
    this.#onGreeted({ nonce: this.#nonce as Uint8Array, hello: taken.hello })
    return true
  }
}

function wrong(why: string): AppError {
  return new AppError('protocol_error', `cannot start the session with the sandbox's agent: ${why}`)
}
