/**
 * Calls that make something: sandboxes, a snapshot. Each has an idempotency key, so that it can be repeated and happens once. Who stops waiting for one
 * (its signal aborts, the client is closed) gets the reason at once; the call itself goes on, and what comes of it is undone in the background. With a
 * key that the caller chose nothing is undone: the same call with the same key tells what came of it.
 */

import { abortable } from '@portico/shared/dispose'
import type { z } from 'zod'
import { type Background, later } from './background.ts'
import { CallScope } from './call-scope.ts'
import { invalid } from './options.ts'
import type { Call, Transport } from './transport.ts'

/** A call that makes something. */
export type Creation = Omit<Call, 'repeatable' | 'detached'>

export class Creations {
  readonly #transport: Transport
  /** Undoings of what nobody waits for any more. */
  readonly #unwanted: Background = new Set()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Calls and waits for the answer; `undo` does away with what it tells of, if nobody waits for it any more. */
  async make<Schema extends z.ZodType>(
    { signal, idempotencyKey, ...call }: Creation,
    schema: Schema,
    undo: (made: z.output<Schema>) => Promise<unknown>,
  ): Promise<z.output<Schema>> {
    if (idempotencyKey !== undefined) {
      assertUsable(idempotencyKey, call.doing)
      return await this.#transport.json({ ...call, idempotencyKey, signal }, schema)
    }
    const scope = new CallScope(call.doing, signal, this.#transport.closed)
    try {
      scope.signal.throwIfAborted()
      const making = this.#transport.json({ ...call, idempotencyKey: newKey(), detached: true }, schema)
      const waiting = abortable(making, scope.signal)
      scope.signal.addEventListener('abort', () => this.#discard(waiting, async () => await undo(await making)))
      return await waiting
    } finally {
      scope.end()
    }
  }

  /** Where what nobody waits for goes on. */
  get background(): Background {
    return this.#unwanted
  }

  /** Resolves once everything that nobody waits for is undone. */
  async settled(): Promise<void> {
    await Promise.all(this.#unwanted)
  }

  #discard(waiting: Promise<unknown>, undo: () => Promise<unknown>): void {
    // Nobody is left to tell. A sandbox that this could not destroy ends by its own timeout.
    later(this.#unwanted, waiting.catch(undo))
  }
}

function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

function assertUsable(key: string, doing: string): void {
  if (!/^[\x21-\x7e]{1,255}$/.test(key))
    throw invalid(
      `cannot ${doing}: the idempotency key is unusable`,
      'It has 1 to 255 letters, digits and ASCII signs.',
    )
}
