/** The state of a running machine at one moment, taken with the channel to its guest open, so that nobody notices but for the pause. */

import { performance } from 'node:perf_hooks'
import type { Vm } from '../vm/driver.ts'
import type { CapturedState, MachineState } from '../vm/machine-state.ts'
import type { OnStep } from './steps.ts'

export interface Copy {
  /** The caller's to release. */
  readonly state: MachineState
  /** How long the machine stood still, as seen from here. */
  readonly pauseMs: number
}

export interface CopyOptions {
  readonly pages: 'memory' | 'file'
  /** The name in front of the steps. */
  readonly what: 'fork' | 'snapshot'
  readonly onStep: OnStep | undefined
  readonly signal: AbortSignal
}

/** Memory up to this is copied to this process, which makes the pause shortest. */
const maxInMemoryMib = 2048

export function pagesFor(memoryMib: number): 'memory' | 'file' {
  return memoryMib <= maxInMemoryMib ? 'memory' : 'file'
}

/** Takes the state; the machine runs again when this settles, unless it is broken. */
export async function copyOf(vm: Vm, { pages, what, onStep, signal }: CopyOptions): Promise<Copy> {
  let state: CapturedState | undefined
  try {
    state = await vm.capture({ pages, signal })
    if (onStep) await onStep(`${what}.captured`)
  } finally {
    await resume(vm, state)
  }
  const pauseMs = Math.round((performance.now() - state.pausedAt) * 10) / 10
  if (onStep) await onStep(`${what}.resumed`)
  return { state, pauseMs }
}

async function resume(vm: Vm, state: MachineState | undefined): Promise<void> {
  try {
    await vm.resume()
  } catch (error) {
    await state?.release()
    throw error
  }
}
