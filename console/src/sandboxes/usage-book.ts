/** What the list knows of each sandbox's use: looked at for those that run, a few at a time. */

import type { RunRecord, UsageResponse } from '@portico/shared/api'
import { type Api, ofRun } from '../api.ts'
import { type Load, loadBetween, type Sample } from '../load.ts'

export interface Seen {
  readonly usage: UsageResponse
  readonly load: Load | undefined
}

/** More than these would be asked for longer than it takes to look at them. */
const most = 40
const atOnce = 4

export class UsageBook {
  readonly #last = new Map<string, Sample>()

  /** One look at all of them; who cannot be asked just now is left out. */
  async look(api: Api, runs: readonly RunRecord[], signal: AbortSignal): Promise<ReadonlyMap<string, Seen>> {
    const seen = new Map<string, Seen>()
    const waiting = runs.filter(({ status }) => status !== 'creating' && status !== 'lost').slice(0, most)
    const worker = async () => {
      for (let run = waiting.shift(); run !== undefined; run = waiting.shift()) {
        const found = await this.#one(api, run, signal).catch(() => undefined)
        if (found !== undefined) seen.set(run.id, found)
      }
    }
    await Promise.all(Array.from({ length: atOnce }, worker))
    for (const id of this.#last.keys()) if (!seen.has(id)) this.#last.delete(id)
    return seen
  }

  async #one(api: Api, { id, vcpus, status }: RunRecord, signal: AbortSignal): Promise<Seen> {
    const usage = await api.json<UsageResponse>(ofRun(id, 'usage'), { signal })
    const sample = { at: Date.now(), usage }
    const load = status === 'running' ? loadBetween(this.#last.get(id), sample, vcpus) : undefined
    this.#last.set(id, sample)
    return { usage, load }
  }
}
