/**
 * How long a process has had: what it ran, and what it slept; not what its threads stood in line for a core. A machine that is only starved by others has had
 * little of it; one that hangs, spinning or asleep, gets to any limit. Limits on how long a guest may take are limits on this where the host is busy.
 */

import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'

const stepMs = 250

export class OwnTime {
  readonly #pid: number
  readonly #root: string
  #seenAt = performance.now()
  #before: Threads | undefined
  #ownMs = 0

  constructor(pid: number, root = '/proc') {
    this.#pid = pid
    this.#root = root
  }

  get ms(): number {
    return this.#ownMs
  }

  /** Looks again. Many threads may stand in line at the same moment, but what they run is not excused by that. */
  async look(now = performance.now()): Promise<number> {
    const threads = await this.#threads()
    const { ranMs, waitedMs } = this.#before ?? threads
    const passed = now - this.#seenAt
    this.#ownMs += Math.min(passed, Math.max(threads.ranMs - ranMs, passed - Math.max(0, threads.waitedMs - waitedMs)))
    this.#seenAt = now
    this.#before = threads
    return this.#ownMs
  }

  /** Resolves when it has had `limitMs`; rejects when `signal` aborts before. */
  async reach(limitMs: number, signal: AbortSignal): Promise<void> {
    while ((await this.look()) < limitMs) await wait(stepMs, undefined, { signal })
  }

  /** What all its threads together ran, and waited for a core while they could have run. */
  async #threads(): Promise<Threads> {
    const folder = join(this.#root, String(this.#pid), 'task')
    const ids = await readdir(folder).catch(() => [])
    const texts = await Promise.all(ids.map((id) => readFile(join(folder, id, 'schedstat'), 'utf8').catch(() => '')))
    const sum = (field: number) => texts.reduce((all, text) => all + (Number(text.split(' ')[field]) || 0) / 1e6, 0)
    return { ranMs: sum(0), waitedMs: sum(1) }
  }
}

interface Threads {
  readonly ranMs: number
  readonly waitedMs: number
}
