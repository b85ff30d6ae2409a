/** How long a form of the soak is. */

import type { KeeperSize } from './keeper.ts'

export interface SoakSize {
  readonly cycles: number
  readonly forks: number
  /** Of what a runner does, at whose steps it is killed. */
  readonly killed: readonly ('hibernate' | 'resume' | 'snapshot' | 'fork')[]
  readonly keeper: KeeperSize
  readonly spec: ReturnType<typeof specOf>
}

function specOf(memMib: number) {
  return {
    image: 'python',
    vcpus: 1,
    mem_mib: memMib,
    disk_mib: 512,
    idle_timeout: 0,
    env: {},
    auto_resume: false,
    on_idle: 'destroy' as const,
  }
}

export const long: SoakSize = {
  cycles: 200,
  forks: 10,
  killed: ['hibernate', 'resume', 'snapshot', 'fork'],
  keeper: { memoryMib: 64, files: 100 },
  spec: specOf(512),
}

/** What `npm test` has the time for. */
export const short: SoakSize = {
  cycles: 10,
  forks: 3,
  killed: ['hibernate'],
  keeper: { memoryMib: 8, files: 20 },
  spec: specOf(256),
}
