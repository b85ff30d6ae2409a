/** What stands ready to be loaded. Whoever opened it disposes of it. */

import type { Target } from './load.ts'

/** Processor seconds so far. */
export interface Cpu {
  readonly workerd: number
  /** The other end of its WebSocket. */
  readonly peer: number
}

export interface Scene extends AsyncDisposable {
  readonly target: Target
  cpu(): Promise<Cpu>
}
