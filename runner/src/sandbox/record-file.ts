/**
 * The record of one sandbox: what it is, in memory, and on disk from when it is first ready. Changes are written one after the other, each from what was
 * last written.
 */

import { rm } from 'node:fs/promises'
import type { SandboxSpec } from '@portico/shared/control'
import type { Usage } from '@portico/shared/usage'
import type { SandboxPaths } from '../paths.ts'
import { clearSaved, type SandboxRecord, writeRecord } from './record.ts'

export interface SandboxFacts {
  readonly sandbox: string
  readonly generation: number
  readonly spec: SandboxSpec
  readonly resolvedImage: string
}

export interface RunningFacts {
  readonly machine: { readonly id: string; readonly slot: number }
  readonly since: number
  /** What the machines before this one used. */
  readonly usage: Usage
  readonly createMs: number
}

export class RecordFile {
  readonly #paths: SandboxPaths
  #facts: SandboxFacts
  #current: SandboxRecord | undefined
  #last: Promise<unknown> = Promise.resolve()
  #removed = false

  constructor(paths: SandboxPaths, facts: SandboxFacts, current?: SandboxRecord) {
    this.#paths = paths
    this.#facts = facts
    this.#current = current
  }

  get facts(): SandboxFacts {
    return this.#facts
  }

  get spec(): SandboxSpec {
    return this.#facts.spec
  }

  /** What was last written; undefined before the sandbox is ready for the first time. */
  get current(): SandboxRecord | undefined {
    return this.#current
  }

  /** The number of the last saved state. */
  get saved(): number {
    return this.#current?.saved ?? 0
  }

  savedFolder(number: number): string {
    return this.#paths.saved(number)
  }

  /** The image turned out to be this one. To be told before the first record is written. */
  resolve(resolvedImage: string): void {
    this.#facts = { ...this.#facts, resolvedImage }
  }

  /** From now on this machine is the sandbox. */
  running(facts: RunningFacts): Promise<void> {
    return this.#write(() => ({ ...this.#common(), ...facts, state: 'running' }))
  }

  /** From now on this saved state is the sandbox, even if the host loses its power. */
  hibernated(saved: number, usage: Usage): Promise<void> {
    return this.#write(() => ({ ...this.#common(), saved, usage, state: 'hibernated' }), true)
  }

  /** It is of no more use; one that never was ready leaves no record. */
  failed(usage: Usage, reason: string): Promise<void> {
    return this.#write(() => this.#current && { ...this.#common(), usage, reason, state: 'error' })
  }

  setIdleTimeout(seconds: number): Promise<void> {
    this.#facts = { ...this.#facts, spec: { ...this.#facts.spec, idle_timeout: seconds } }
    const durable = this.#current?.state === 'hibernated'
    return this.#write(() => this.#current && { ...this.#current, spec: this.#facts.spec }, durable)
  }

  /** Removes the saved states, once a machine is the sandbox. */
  async clearSaved(): Promise<void> {
    await clearSaved(this.#paths)
  }

  /** Removes the record and then all that it names. Nothing is written any more. */
  remove(): Promise<void> {
    return this.#inTurn(async () => {
      this.#removed = true
      // Without its record, the rest is removed at the next start of the runner.
      await rm(this.#paths.record, { force: true })
      await rm(this.#paths.folder, { recursive: true, force: true })
    })
  }

  #common() {
    return { schema: 1 as const, ...this.#facts, createMs: this.#current?.createMs ?? 0, saved: this.saved }
  }

  /** Writes what `make` answers when it is its turn, if anything. Rejects leaving the former record. */
  #write(make: () => SandboxRecord | undefined, durable = false): Promise<void> {
    return this.#inTurn(async () => {
      const next = make()
      if (this.#removed || !next) return
      await writeRecord(this.#paths.record, next, durable)
      this.#current = next
    })
  }

  #inTurn(run: () => Promise<void>): Promise<void> {
    const turn = this.#last.then(run)
    this.#last = turn.catch(() => undefined)
    return turn
  }
}
