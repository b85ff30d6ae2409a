/**
 * The order in which a runner told what arrives here. Sockets of a session may stand still and go on, so that a message comes late, or
 * again; `sequence` says when it was told. What was overtaken is not taken, and answered as if it was, so that the runner does not repeat
 * it. The order holds for one session and is stored, so that it holds for whoever goes on after an eviction.
 *
 *   a status  is overtaken by a later status
 *   an event  is overtaken by a later event of its sandbox, or the same, and by a later status if its sandbox is known to be in another
 *             state by now; that a sandbox ended or failed is overtaken by no status, as nothing comes after it
 *
 * A message without a sequence (generation 1) is always taken.
 */

import type { RunnerNews, RunnerStatus, SandboxEventMessage } from '@portico/shared/control'
import type { AssignedTable } from '../store/assigned.ts'

const stored = 'order'

interface Told {
  readonly session: string
  /** Of the last status that was taken. */
  readonly status: number
}

export class Order {
  readonly #kv: SyncKvStorage
  readonly #assigned: AssignedTable
  /** Of the latest status that began to be taken. */
  #status = 0
  /** Of events that are being taken, by sandbox. */
  readonly #events = new Map<string, number>()

  constructor(kv: SyncKvStorage, assigned: AssignedTable) {
    this.#kv = kv
    this.#assigned = assigned
  }

  /** Takes the message of the session in force, unless it was overtaken. What could not be taken may come again. */
  async take(session: string, message: RunnerNews, work: () => Promise<void>): Promise<void> {
    this.#begin(session)
    if (message.op === 'runner.status') await this.#takeStatus(session, message, work)
    else await this.#takeEvent(session, message, work)
  }

  async #takeStatus(session: string, { sequence }: RunnerStatus, work: () => Promise<void>): Promise<void> {
    if (sequence === undefined) return work()
    if (sequence <= this.#told.status || sequence < this.#status) return
    this.#status = sequence
    await work()
    if (this.#told.session === session && sequence > this.#told.status) {
      this.#kv.put<Told>(stored, { session, status: sequence })
    }
  }

  async #takeEvent(session: string, message: SandboxEventMessage, work: () => Promise<void>): Promise<void> {
    const { sandbox, generation, sequence } = message
    if (sequence === undefined) return work()
    if (this.#isOvertaken(message, sequence)) return
    this.#events.set(sandbox, sequence)
    try {
      await work()
    } finally {
      if (this.#events.get(sandbox) === sequence) this.#events.delete(sandbox)
    }
    if (this.#told.session === session) this.#assigned.heard(sandbox, generation, sequence)
  }

  #isOvertaken({ sandbox, generation, state }: SandboxEventMessage, sequence: number): boolean {
    const row = this.#assigned.get(sandbox)
    // The sandbox's own object knows what to do with it.
    if (row === undefined || row.generation !== generation) return false
    if (sequence <= row.heard || sequence < (this.#events.get(sandbox) ?? 0)) return true
    if (state === 'destroyed' || state === 'error') return false
    return sequence < this.#told.status && row.told !== null && row.told !== state
  }

  get #told(): Told {
    return this.#kv.get<Told>(stored) ?? { session: '', status: 0 }
  }

  /** Another process of the runner counts anew. */
  #begin(session: string): void {
    if (this.#told.session === session) return
    this.#kv.put<Told>(stored, { session, status: 0 })
    this.#assigned.unheard()
    this.#status = 0
    this.#events.clear()
  }
}
