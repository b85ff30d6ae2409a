/** An object has one alarm; the agenda shares it among several jobs. Each job says when it is due next, from what is stored, so an eviction loses nothing. */

import type { Clock } from '@portico/shared/clock'
import { logFailure } from '../log.ts'
import { fromPlatform } from '../platform-errors.ts'

export interface Job {
  readonly name: string
  /** When it is due; undefined while there is nothing to do. */
  next(): number | undefined
  run(): Promise<void>
  /** How long a job rests that is due again right after it ran, or that failed. */
  readonly restMs: number
}

export class Agenda {
  readonly #storage: Pick<DurableObjectStorage, 'getAlarm' | 'setAlarm'>
  readonly #clock: Clock
  readonly #jobs: readonly Job[]

  constructor(storage: Pick<DurableObjectStorage, 'getAlarm' | 'setAlarm'>, clock: Clock, jobs: readonly Job[]) {
    this.#storage = storage
    this.#clock = clock
    this.#jobs = jobs
  }

  /** Has the alarm go off at this time, if it would not go off earlier. */
  async notLaterThan(at: number): Promise<void> {
    const set = await this.#storage.getAlarm()
    if (set === null || set > at) await this.#storage.setAlarm(at)
  }

  /** The alarm went off: runs what is due, and sets it again. A job that fails holds up no other. */
  async run(): Promise<void> {
    const rests = new Map<Job, number>()
    for (const job of this.#jobs) {
      const due = job.next()
      if (due === undefined || due > this.#clock.now()) continue
      await job.run().catch((thrown) => logFailure(job.name, fromPlatform(thrown, job.name)))
      rests.set(job, this.#clock.now() + job.restMs)
    }
    const times = this.#jobs.flatMap((job) => {
      const at = job.next()
      return at === undefined ? [] : [Math.max(at, rests.get(job) ?? 0)]
    })
    if (times.length > 0) await this.notLaterThan(Math.min(...times))
  }
}
