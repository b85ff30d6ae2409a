/**
 * Calls that make something: sandboxes, a snapshot. They are never repeated by themselves. Who stops waiting for one (its signal aborts, the client is
 * closed) gets the reason at once; the call itself goes on, and what comes of it is undone in the background.
 */

import { abortable } from '@portico/shared/dispose'
import type { z } from 'zod'
import { CallScope } from './call-scope.ts'
import type { Call, Transport } from './transport.ts'

/** A call that makes something. */
export type Creation = Omit<Call, 'repeatable' | 'detached'>

export class Creations {
  readonly #transport: Transport
  /** Undoings of what nobody waits for any more. */
  readonly #unwanted = new Set<Promise<void>>()

  constructor(transport: Transport) {
    this.#transport = transport
  }

  /** Calls and waits for the answer; `undo` does away with what it tells of, if nobody waits for it any more. */
  async make<Schema extends z.ZodType>(
    { signal, ...call }: Creation,
    schema: Schema,
    undo: (made: z.output<Schema>) => Promise<unknown>,
  ): Promise<z.output<Schema>> {
    const scope = new CallScope(call.doing, signal, this.#transport.closed)
    try {
      scope.signal.throwIfAborted()
      const making = this.#transport.json({ ...call, detached: true }, schema)
      const waiting = abortable(making, scope.signal)
      scope.signal.addEventListener('abort', () => this.#discard(waiting, async () => await undo(await making)))
      return await waiting
    } finally {
      scope.end()
    }
  }

  /** Resolves once everything that nobody waits for is undone. */
  async settled(): Promise<void> {
    await Promise.all(this.#unwanted)
  }

  #discard(waiting: Promise<unknown>, undo: () => Promise<unknown>): void {
    const gone = waiting
      .catch(undo)
      // Nobody is left to tell. A sandbox that this could not destroy ends by its own timeout.
      .then(
        () => undefined,
        () => undefined,
      )
      .finally(() => this.#unwanted.delete(gone))
    this.#unwanted.add(gone)
  }
}
