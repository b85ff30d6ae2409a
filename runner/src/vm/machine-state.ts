/**
 * All of a machine at one moment, as files on this host and pages. A driver's `capture` makes it, `snapshot/` keeps it in a folder and finds it there
 * again, a driver's `restore` makes machines of it.
 *
 * Memory is a base, which many machines map without being able to change it, and the pages that differ from it. There is never more than one base and
 * one set of pages, so a state does not get slower with age. The disk is a chain of layers, each of which is never written again.
 */

import type { PageSet } from '../memory/page-set.ts'
import type { Accelerator } from './driver.ts'

/** A state can only go on in the machine that it was saved from: these must be equal. */
export interface StateVersions {
  readonly accelerator: Accelerator
  readonly qemu: string
  /** The processor as the guest sees it. */
  readonly cpu: string
}

/** The machine that the state is of. */
export interface MachineShape {
  readonly image: { readonly name: string; readonly digest: string }
  readonly kernel: string
  readonly agent: string
  readonly vcpus: number
  readonly memoryMib: number
  readonly diskMib: number
}

/** A file that nobody writes any more. */
export interface StateFile {
  /** Absolute. */
  readonly file: string
  readonly bytes: number
  /** Its `treeDigest`, where somebody has computed it already. */
  readonly sha256?: string
}

export interface DiskLayer extends StateFile {
  readonly format: 'raw' | 'qcow2'
}

export interface MachineState {
  readonly versions: StateVersions
  readonly shape: MachineShape
  /** The memory that the pages differ from. */
  readonly base: StateFile
  /** Processor and devices. */
  readonly device: StateFile
  readonly pages: PageSet
  /** Bottom first. */
  readonly layers: readonly DiskLayer[]
  /** Gives the files back, which have links of their own: machines made of the state, and saved copies, are not touched. Safe to repeat. */
  release(): Promise<void>
}

/** Of a machine that stands still now. */
export interface CapturedState extends MachineState {
  /** When it stopped, by `performance.now()`. */
  readonly pausedAt: number
}
