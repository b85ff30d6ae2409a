/**
 * Which sandboxes have a command of this surface under way: one at a time in each. A lock lives as long as its command's invocation does, which has a limit of
 * its own; an object that wakes anew has no invocation under way, and so no lock.
 */

import { ByteBudget } from './byte-budget.ts'
import { Fault } from './errors.ts'

export class ExecLocks {
  /** What the commands' answers take while they are read. */
  readonly answers = new ByteBudget()
  readonly #held = new Set<string>()

  /** Runs `work` while no other command runs there; S003 if one does. */
  async during<Value>(sandbox: string, work: () => Promise<Value>): Promise<Value> {
    if (this.#held.has(sandbox)) throw new Fault('S003', 'another exec is in flight on this sandbox')
    this.#held.add(sandbox)
    try {
      return await work()
    } finally {
      this.#held.delete(sandbox)
    }
  }

  has(sandbox: string): boolean {
    return this.#held.has(sandbox)
  }
}
