/**
 * What a sandbox has used, over all the machines that it had: what it sleeps through is not counted. It samples while a machine runs, so that one that
 * dies reports its last sample; peaks never fall. It owns one timer.
 */

import type { Clock } from '@portico/shared/clock'
import type { Usage } from '@portico/shared/usage'
import type { Vm, VmMetrics } from '../vm/driver.ts'

const sampleMs = 5000

/** The usage of a sandbox that never was ready. */
export const noUsage: Usage = { cpu_ms: 0, mem_peak_bytes: 0, mem_current_bytes: 0, disk_used_bytes: 0, uptime_ms: 0 }

export interface MeterStart {
  /** What the machines before this one used. */
  readonly before?: Usage
  /** Since when this machine has been ready, if that is not now. */
  readonly since?: number
}

export class Meter {
  /** Since when its machine has been ready. */
  readonly since: number
  /** What the machines before this one used. */
  readonly before: Usage
  readonly #vm: Pick<Vm, 'metrics'>
  readonly #clock: Clock
  #last: VmMetrics
  #endedAt: number | undefined
  #cancel: () => void = () => undefined

  /** Counts from now on, which is when the guest was ready. */
  constructor(vm: Pick<Vm, 'metrics'>, clock: Clock, { before = noUsage, since = clock.now() }: MeterStart = {}) {
    this.#vm = vm
    this.#clock = clock
    this.since = since
    this.before = before
    this.#last = { cpuMs: 0, memoryBytes: 0, memoryPeakBytes: 0, diskBytes: before.disk_used_bytes }
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

  /** Ends the sampling without another sample. */
  stop(): void {
    this.#cancel()
    this.#endedAt ??= this.#clock.now()
  }

  #usage(): Usage {
    const { cpu_ms, mem_peak_bytes, uptime_ms } = this.before
    return {
      cpu_ms: cpu_ms + this.#last.cpuMs,
      mem_peak_bytes: Math.max(mem_peak_bytes, this.#last.memoryPeakBytes),
      mem_current_bytes: this.#last.memoryBytes,
      disk_used_bytes: this.#last.diskBytes,
      uptime_ms: uptime_ms + Math.max(0, (this.#endedAt ?? this.#clock.now()) - this.since),
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
