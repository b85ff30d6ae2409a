/**
 * A QEMU that an earlier process of the runner started: known by pid and start time. It is nobody's child here, so its end is looked for, and told at
 * once by whoever sees its sockets close.
 */

import { type Clock, systemClock } from '@portico/shared/clock'
import { killProcess } from '../../process/kill.ts'
import { Proc, type ProcessIdentity } from '../../process/proc.ts'
import type { ProcessExit, VmProcess } from './vm-process.ts'

const lookEveryMs = 2000
const killLimitMs = 10_000

export class AdoptedProcess implements VmProcess {
  readonly identity: ProcessIdentity
  readonly exited: Promise<ProcessExit>
  readonly errorText = ''
  readonly #proc = new Proc()
  readonly #clock: Clock
  readonly #resolve: (exit: ProcessExit) => void
  #over = false
  #cancel: () => void = () => undefined

  constructor(identity: ProcessIdentity, clock: Clock = systemClock) {
    this.identity = identity
    this.#clock = clock
    const { promise, resolve } = Promise.withResolvers<ProcessExit>()
    this.exited = promise
    this.#resolve = resolve
    void this.look()
  }

  /** Looks now whether it still runs. */
  async look(): Promise<void> {
    this.#cancel()
    const runs = await this.#proc.runs(this.identity)
    if (this.#over) return
    this.#cancel()
    if (runs) this.#cancel = this.#clock.after(lookEveryMs, () => void this.look())
    else this.#end()
  }

  async kill(): Promise<void> {
    await killProcess(this.identity, { limitMs: killLimitMs, signal: new AbortController().signal })
    this.#end()
  }

  #end(): void {
    this.#over = true
    this.#cancel()
    this.#resolve({ code: null, signal: null })
  }
}
