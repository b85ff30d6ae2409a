/**
 * The contract between the runner and whatever runs virtual machines. `qemu/` is the real thing, `fake/` runs in this process; `conformance.ts` holds
 * both to these sentences. A machine here is a processor that runs: whether its guest is ready is for `sandbox/` to find out over the guest channel.
 */

import type { Duplex } from 'node:stream'

/** What runs the guest's instructions: the host's processor, or software. */
export type Accelerator = 'kvm' | 'tcg'

/** What to start. Everything in it was checked before. */
export interface VmSpec {
  /** Unique on this runner while the machine exists; fit for a file name. */
  readonly id: string
  readonly generation: number
  /** A small number that no other machine of this runner has at the same time; users, addresses and the like are derived from it. */
  readonly slot: number
  /** One of the driver's images. */
  readonly image: string
  readonly vcpus: number
  readonly memoryMib: number
  readonly diskMib: number
}

/** What the runner must know of an image. */
export interface VmImage {
  /** Variables that every process of the sandbox gets unless its caller says otherwise. */
  readonly env: Readonly<Record<string, string>>
}

/** What a machine has used so far. */
export interface VmMetrics {
  readonly cpuMs: number
  readonly memoryBytes: number
  readonly memoryPeakBytes: number
  /** What it wrote to its scratch disk and still takes room. */
  readonly diskBytes: number
}

/** How a machine ended: by `stop()`, by its guest (power-off, reboot, kernel panic), or because its process died. */
export interface VmEnd {
  readonly kind: 'stopped' | 'guest' | 'crashed'
  /** One line for the user, without anything of the host in it. */
  readonly reason: string
}

export interface VmDriver {
  readonly accelerator: Accelerator
  /** The images that `start` takes, by name. */
  readonly images: ReadonlyMap<string, VmImage>
  /** Host memory that a machine takes beyond what its guest is given. */
  readonly overheadMib: number
  /**
   * Starts a machine; resolves when its processor runs. When it rejects, or `signal` aborts it, everything of the machine is gone again.
   * Must not be called twice for one id before the first machine is stopped.
   */
  start(spec: VmSpec, signal: AbortSignal): Promise<Vm>
}

export interface Vm {
  readonly id: string
  /** Resolves once, however the machine ends; never rejects. What the machine held is only free after `stop()`. */
  readonly ended: Promise<VmEnd>
  /** A new link to the guest's agent: bytes both ways. One at a time: the caller closes the last one first. Rejects once the machine has ended. */
  connect(signal: AbortSignal): Promise<Duplex>
  /** Undefined when it can no longer be measured. */
  metrics(): Promise<VmMetrics | undefined>
  /** The end of what the guest printed on its console, at most some KiB; hostile text. */
  console(): string
  /** Ends the machine now and frees everything of it. Safe to repeat and at any time: every call resolves when all is free. */
  stop(): Promise<void>
}
