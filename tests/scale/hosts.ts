/** Simulated hosts: what really is on them, which the region only learns from their reports. */

import type { Shape } from '../../edge/src/placement/score.ts'
import type { RunnerReport } from '../../edge/src/ports.ts'

/** `cut`: its sockets were closed. `silent`: they look open, and nothing comes. */
export type Presence = 'up' | 'cut' | 'silent'

export interface Sandbox {
  readonly id: string
  readonly shape: Shape
  readonly host: Host
  /** Its place in its region's list, so that any of them can be taken out at once. */
  index: number
}

/** What a host gives to sandboxes: 1,024 places are what a runner allows at most. */
export const hostRoom = { memMib: 768 * 1024, vcpus: 4096, slots: 1024 } as const

export class Host {
  readonly id: string
  readonly tunnel: string
  presence: Presence = 'up'
  /** Something is different from the last report. */
  hasChanged = true
  reportedAt = Number.NEGATIVE_INFINITY
  readonly #sandboxes = new Map<string, Shape>()
  #memMib = 0
  #vcpus = 0

  constructor(id: string) {
    this.id = id
    this.tunnel = `tunnel of ${id}`
  }

  get memMib(): number {
    return this.#memMib
  }

  get sandboxes(): number {
    return this.#sandboxes.size
  }

  /** False if it has been given more than it has. */
  take(id: string, shape: Shape): boolean {
    this.#sandboxes.set(id, shape)
    this.#memMib += shape.memMib
    this.#vcpus += shape.vcpus
    this.hasChanged = true
    return this.#memMib <= hostRoom.memMib && this.#vcpus <= hostRoom.vcpus && this.sandboxes <= hostRoom.slots
  }

  end(id: string): void {
    const shape = this.#sandboxes.get(id)
    if (shape === undefined) return
    this.#sandboxes.delete(id)
    this.#memMib -= shape.memMib
    this.#vcpus -= shape.vcpus
    this.hasChanged = true
  }

  /** What it says of itself at this moment. */
  report(): RunnerReport {
    return {
      version: '0.1.0',
      accelerator: 'kvm',
      draining: false,
      vcpus: 128,
      total_mem_mib: hostRoom.memMib,
      free_mem_mib: hostRoom.memMib - this.#memMib,
      free_vcpus: hostRoom.vcpus - this.#vcpus,
      free_slots: hostRoom.slots - this.sandboxes,
      load: 0.5,
      images: ['node', 'python'],
      warm: { node: 2, python: 2 },
      generation: 2,
      sockets: 2,
      sandboxes: [...this.#sandboxes.keys()],
    }
  }
}
