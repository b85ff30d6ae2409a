/**
 * How the machine of a sandbox comes to be: taken from the machines that stand ready, restored from a state that somebody holds, or found running after a
 * restart of the runner. Each way ends with a guest that has confirmed who it is and a place that is the sandbox's own, or with nothing taken.
 */

import { abortable, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { Reservation } from '../capacity.ts'
import { GuestChannel } from '../guest/channel.ts'
import type { StatePaths } from '../paths.ts'
import type { Brought } from '../policy/host-images.ts'
import type { MachineSource } from '../pool/source.ts'
import type { Vm } from '../vm/driver.ts'
import { newMachineId } from '../vm/machine-id.ts'
import type { MachineState } from '../vm/machine-state.ts'
import type { BootGate } from './boot-gate.ts'
import { BootedVm, type PhaseContext, PreparedVm, type ReadyVm } from './phases.ts'
import type { OnStep } from './steps.ts'

/** What all sandboxes of a runner share. */
export interface SandboxContext extends PhaseContext {
  readonly source: Pick<MachineSource, 'take' | 'reserve' | 'mustFit' | 'bare' | 'expectBare'>
  readonly paths: StatePaths
  readonly onStep: OnStep | undefined
}

/** Where a new sandbox's machine comes from. */
export type Origin =
  /** `bring` brings its image, where that is not here for good. */
  | { readonly kind: 'new'; readonly bring?: (signal: AbortSignal) => Promise<Brought> }
  /** A state that somebody else holds until this settles; nobody may use the machine before `verify` resolves. */
  | {
      readonly kind: 'state'
      readonly state: MachineState
      readonly verify: () => Promise<void>
      readonly gate: BootGate
    }
  /** A machine that has run all the time. */
  | { readonly kind: 'found'; readonly vm: Vm; readonly place: Reservation }

export interface Wanted {
  readonly sandbox: string
  readonly env: Readonly<Record<string, string>>
  readonly image: string
  readonly vcpus: number
  readonly memoryMib: number
  readonly diskMib: number
}

/** A machine that is this sandbox, in its place. */
export interface Settled {
  readonly ready: ReadyVm
  readonly place: Reservation
}

/** Brings the machine up. Rejects having given everything back. */
export async function giveBirth(
  context: SandboxContext,
  origin: Origin,
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Settled> {
  switch (origin.kind) {
    case 'new':
      return await taken(context, wanted, signal)
    case 'state': {
      const leave = await origin.gate.enter(signal)
      try {
        return await restored(context, origin, wanted, signal)
      } finally {
        leave()
      }
    }
    case 'found':
      return await found(context, origin, wanted, signal)
  }
}

async function taken(context: SandboxContext, wanted: Wanted, signal: AbortSignal): Promise<Settled> {
  const { image, vcpus, memoryMib, diskMib, sandbox, env } = wanted
  const { booted, place } = await context.source.take({ image, vcpus, memoryMib, diskMib }, signal)
  try {
    return { ready: await booted.identify({ sandbox, env }, signal), place }
  } catch (error) {
    place.release()
    throw error
  }
}

async function restored(
  context: SandboxContext,
  { state, verify }: { readonly state: MachineState; readonly verify: () => Promise<void> },
  wanted: Wanted,
  signal: AbortSignal,
): Promise<Settled> {
  const { image, vcpus, memoryMib, diskMib, sandbox, env } = wanted
  const place = await context.source.reserve({ memoryMib, vcpus }, signal)
  try {
    const spec = { id: newMachineId(), slot: place.slot, image, vcpus, memoryMib, diskMib }
    const booted = await new PreparedVm(context, spec).restore(state, { again: 'now' }, signal)
    const ready = await booted.identify({ sandbox, env }, signal)
    try {
      await abortable(verify(), signal)
      return { ready, place }
    } catch (error) {
      await ready.unwind(AppError.from(error))
      throw error
    }
  } catch (error) {
    place.release()
    throw error
  }
}

/** It may have been left standing still, and its agent in the middle of a session with a runner that is gone. */
async function found(
  context: SandboxContext,
  { vm, place }: { readonly vm: Vm; readonly place: Reservation },
  { sandbox, env }: Wanted,
  caller: AbortSignal,
): Promise<Settled> {
  const { clock, limits } = context
  const gone = new AbortController()
  void vm.ended.then(({ reason }) => gone.abort(new AppError('sandbox_failed', `cannot go on: ${reason}`)))
  using signal = deadline(limits.identityMs, "reach the sandbox's agent again", caller, gone.signal)
  try {
    const link = await vm.connect(signal)
    await vm.resume()
    const channel = await GuestChannel.open(link, { signal, again: true, clock })
    return { ready: await new BootedVm(context, vm.spec, vm, channel).identify({ sandbox, env }, signal), place }
  } catch (error) {
    await vm.stop()
    place.release()
    throw error
  }
}
