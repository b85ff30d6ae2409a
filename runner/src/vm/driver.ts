/**
 * The contract between the runner and whatever runs virtual machines. `qemu/` is the real thing, `fake/` runs in this process; `conformance.ts` holds
 * both to these sentences. A machine here is a processor that runs: whether its guest is ready is for `sandbox/` to find out over the guest channel.
 *
 *   boot ──▶ running ◀──pause/resume──▶ paused ◀── restore, adopt
 *               └──────── stop(), its guest, a crash ────────┴──▶ ended
 */

import type { Duplex, Readable } from 'node:stream'
import type { VmImages } from './images.ts'
import type { CapturedState, DiskLayer, MachineShape, MachineState, StateVersions } from './machine-state.ts'

export type { VmImage, VmImages } from './images.ts'

/** What runs the guest's instructions: the host's processor, or software. */
export type Accelerator = 'kvm' | 'tcg'

/** What to start. Everything in it was checked before. */
export interface VmSpec {
  /** The machine's own name, never used twice; fit for a file name. A sandbox has another machine after every resume. */
  readonly id: string
  /** A small number that no other machine of this runner has at the same time; users, addresses and the like are derived from it. */
  readonly slot: number
  /** The name of one of the driver's images. */
  readonly image: string
  readonly vcpus: number
  readonly memoryMib: number
  readonly diskMib: number
}

export interface ImageContent {
  readonly size: number
  readonly content: Readable
}

/** What a machine has used so far. */
export interface VmMetrics {
  readonly cpuMs: number
  /** Its share of the host's memory: pages that several machines map count in parts (PSS). */
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
  /** The images that `boot` takes, by name. */
  readonly images: VmImages
  /** Host memory that a machine takes beyond what its guest is given. */
  readonly overheadMib: number
  /** What every machine runs that is booted here: a template of other software is not used any more. */
  readonly guest: { readonly kernel: string; readonly agent: string }
  /** What a saved state must match to be restored here. */
  readonly versions: StateVersions
  /**
   * Starts a machine cold; resolves when its processor runs. All its memory is in a file of its own, so that `capture` has nothing to copy: it may be
   * captured once and must be stopped then. When it rejects, or `signal` aborts it, everything of the machine is gone again.
   */
  boot(spec: VmSpec, signal: AbortSignal, options?: BootOptions): Promise<Vm>
  /**
   * A machine in a captured state: it stands still, and goes on where the other stopped at `resume()`. `state` may be used for any number of machines,
   * at the same time, and must not be released before this settles. One of a machine that waits takes any image, and the layers of any disk. `spec.diskMib` may be more than the state's: the guest then sees a larger disk.
   */
  restore(spec: VmSpec, state: MachineState, signal: AbortSignal): Promise<Vm>
  /** The machines that an earlier process of the runner left and that still exist in any form. */
  found(): Promise<readonly string[]>
  /** Takes such a machine over, paused or running as it is. Undefined if it is gone or broken; all of it is free then. */
  adopt(id: string, signal: AbortSignal): Promise<Vm | undefined>
}

export interface BootOptions {
  /** Its guest comes up without a look at its disks, and waits to be told: its agent then knows `GET /health` and `POST /disk/mount` alone. */
  readonly waits?: boolean
}

export interface CaptureOptions {
  /** `memory`: changed pages are copied to this process while the machine stands still, which is quickest. `file`: to a file, for what is kept. */
  readonly pages: 'memory' | 'file'
  readonly signal: AbortSignal
}

export interface DiskCaptureOptions {
  /** An empty folder, on the file system of the runner's state, that gets the layers. */
  readonly folder: string
  /** Runs `moment` while the guest holds its writers still, everything that they wrote being on the disk. */
  readonly still: (moment: () => Promise<void>) => Promise<void>
  readonly signal: AbortSignal
}

/** The disk of a machine at one moment. */
export interface CapturedDisk {
  readonly shape: MachineShape
  /** In the folder that the caller named, bottom first. */
  readonly layers: readonly DiskLayer[]
  /** How many of them, from the bottom, many machines share. */
  readonly shared: number
}

export interface Vm {
  readonly id: string
  readonly spec: VmSpec
  /** Resolves once, however the machine ends; never rejects. What the machine held is only free after `stop()`. */
  readonly ended: Promise<VmEnd>
  /** A new link to the guest's agent: bytes both ways. One at a time: the caller closes the last one first. Rejects once the machine has ended. */
  connect(signal: AbortSignal): Promise<Duplex>
  /** Stops the processors. Repeating it does nothing. */
  pause(): Promise<void>
  /** Lets the processors go on. Repeating it does nothing. */
  resume(): Promise<void>
  /**
   * All of the machine at one moment. It stands still from then on, whether it ran before or not: the caller resumes or stops it. The link to the guest
   * may be open: it stays as it is here, and a machine restored from this finds its own end closed. When it rejects, the machine is paused, unharmed.
   */
  capture(options: CaptureOptions): Promise<CapturedState>
  /** The files of one moment, while the machine runs on. When it rejects, the machine runs on, too. Not at the same time as `capture`. */
  captureDisk(options: DiskCaptureOptions): Promise<CapturedDisk>
  /** Undefined when it can no longer be measured. */
  metrics(): Promise<VmMetrics | undefined>
  /** The end of what the guest printed on its console, at most some KiB; hostile text. */
  console(): string
  /** Ends the machine now and frees everything of it. Safe to repeat and at any time: every call resolves when all is free. */
  stop(): Promise<void>
}
