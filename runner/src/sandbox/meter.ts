/**
 * What a sandbox has used. It samples while the sandbox runs, so that a machine that dies reports its last sample; peaks never fall.
 * It owns one timer.
 */

import type { Clock } from '@portico/shared/clock'
import type { Usage } from '@portico/shared/usage'
import type { Vm, VmMetrics } from '../vm/driver.ts'

const sampleMs = 5000

const nothing: VmMetrics = { cpuMs: 0, memoryBytes: 0, memoryPeakBytes: 0, diskBytes: 0 }

export class Meter {
  readonly #vm: Pick<Vm, 'metrics'>
  readonly #clock: Clock
  readonly #startedAt: number
  #last = nothing
  #endedAt: number | undefined
  #cancel: () => void = () => undefined

  /** Counts from now on, which is when the guest was ready. */
  constructor(vm: Pick<Vm, 'metrics'>, clock: Clock) {
    this.#vm = vm
    this.#clock = clock
    this.#startedAt = clock.now()
    void this.#sampleAgain()
  }

  /** Usage so far. */
  async read(): Promise<Usage> {
    await this.#sample()
    return this.#usage()
  }

  /** The last sample of a machine that is about to be stopped, or that is gone already. Ends the sampling. */
  async finish(): Promise<Usage> {
    this.#cancel()
    await this.#sample()
    this.#endedAt ??= this.#clock.now()
    return { ...this.#usage(), mem_current_bytes: 0 }
  }

  #usage(): Usage {
    return {
      cpu_ms: this.#last.cpuMs,
      mem_peak_bytes: this.#last.memoryPeakBytes,
      mem_current_bytes: this.#last.memoryBytes,
      disk_used_bytes: this.#last.diskBytes,
      uptime_ms: (this.#endedAt ?? this.#clock.now()) - this.#startedAt,
    }
  }

  async #sampleAgain(): Promise<void> {
    await this.#sample()
    if (this.#endedAt === undefined) this.#cancel = this.#clock.after(sampleMs, () => void this.#sampleAgain())
  }

  async #sample(): Promise<void> {
    if (this.#endedAt !== undefined) return
    const now = await this.#vm.metrics()
    if (!now) return
    this.#last = {
      ...now,
      cpuMs: Math.max(now.cpuMs, this.#last.cpuMs),
      memoryPeakBytes: Math.max(now.memoryPeakBytes, now.memoryBytes, this.#last.memoryPeakBytes),
    }
  }
}

/** The usage of a sandbox that never was ready. */
export const noUsage: Usage = { cpu_ms: 0, mem_peak_bytes: 0, mem_current_bytes: 0, disk_used_bytes: 0, uptime_ms: 0 }
