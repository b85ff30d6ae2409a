/**
 * How a sandbox falls asleep and wakes up. What is true in between is what its record says: until the record says `hibernated` the machine is the
 * sandbox, from then on the saved state is, until the record says `running` again.
 */

import { rm } from 'node:fs/promises'
import { abortable, Cleanup, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import { giveIdentity } from '../guest/agent.ts'
import type { GuestLink } from '../guest/link.ts'
import { openState } from '../snapshot/open.ts'
import { saveState } from '../snapshot/save.ts'
import type { Vm } from '../vm/driver.ts'
import { newMachineId } from '../vm/machine-id.ts'
import type { MachineState } from '../vm/machine-state.ts'
import type { SandboxContext, Settled, Wanted } from './birth.ts'
import { identityOf } from './identity.ts'
import { PreparedVm, ReadyVm } from './phases.ts'

export interface FallAsleep {
  readonly context: SandboxContext
  readonly settled: Settled
  readonly generation: number
  /** The folder of the saved state; it does not exist yet. */
  readonly folder: string
  /** Called when the state is safe: makes it the truth, or rejects. */
  readonly record: () => Promise<void>
  readonly signal: AbortSignal
}

/** Resolves when the state is kept and the machine is gone. Rejects before that is the truth; the machine may stand still then, and its link, too. */
export async function fallAsleep(options: FallAsleep): Promise<void> {
  const { context, settled, generation, folder, record, signal } = options
  const { onStep, log } = context
  const { vm, link } = settled.ready
  await link.suspend(signal)
  await onStep?.('hibernate.suspended')
  const state = await vm.capture({ pages: 'file', signal })
  try {
    await onStep?.('hibernate.captured')
    const tell = (step: string) => onStep?.(`hibernate.save.${step}`)
    await saveState(state, folder, { kind: 'hibernation', generation, onStep: tell })
  } finally {
    await state.release()
  }
  try {
    await onStep?.('hibernate.saved')
    signal.throwIfAborted()
    await record()
  } catch (error) {
    await rm(folder, { recursive: true, force: true })
    throw error
  }
  await onStep?.('hibernate.recorded')
  // The next start of the runner finds a machine that could not be stopped.
  await vm.stop().catch((error: unknown) => log.error({ error }, 'sandbox.free'))
  settled.place.release()
  await onStep?.('hibernate.stopped')
}

/** After a failure of `fallAsleep`: lets the machine go on as if nothing had been. Rejects if it cannot. */
export async function stayAwake({ context, settled, signal: caller }: FallAsleep): Promise<void> {
  const { vm, link } = settled.ready
  using signal = deadline(context.limits.identityMs, "reach the sandbox's agent again", caller)
  const first = link.suspended ? await vm.connect(signal) : undefined
  await vm.resume()
  if (first) await link.resume((retry) => vm.connect(retry), first, signal)
}

/** A large memory is read and proven in this time, even from a slow disk. */
const wakeLimitMs = 120_000

export interface WakeUp<Kept> {
  readonly context: SandboxContext
  readonly wanted: Wanted
  readonly folder: string
  /** The suspended link to its guest, unless this runner was started since. */
  readonly link: GuestLink | undefined
  /** Called when the machine is ready and what it came from is proven: makes it the truth, or rejects having freed it. */
  readonly keep: (settled: Settled) => Promise<Kept>
  readonly signal: AbortSignal
}

/** Resolves with what is kept of the machine when it is the truth. Rejects having given everything back; the saved state is as it was. */
export async function wakeUp<Kept>(options: WakeUp<Kept>): Promise<Kept> {
  const { context, wanted, folder, keep } = options
  const { onStep, driver, source } = context
  const undo = new Cleanup()
  using signal = deadline(wakeLimitMs, 'resume the sandbox', options.signal)
  try {
    const place = await source.reserve(wanted, signal)
    undo.add('the place', () => place.release())
    const { state, verify } = await openState(folder, driver.versions, signal)
    undo.add('the state', () => state.release())
    await onStep?.('resume.opened')
    const ready = await machineOf({ ...options, signal }, state, place.slot, undo).catch(async (error: unknown) => {
      // A guest whose memory is damaged may not come up at all: then that is the reason.
      if (!options.signal.aborted) await abortable(verify(), signal)
      throw error
    })
    await onStep?.('resume.linked')
    await abortable(verify(), signal)
    await onStep?.('resume.verified')
    const kept = await keep({ ready, place })
    await state.release()
    return kept
  } catch (error) {
    await undo.run().catch((cause: unknown) => context.log.error({ error: cause }, 'sandbox.free'))
    throw error
  }
}

/** With the link that was suspended, commands that were under way go on; without it their callers are gone. */
async function machineOf(
  { context, wanted, link, signal }: WakeUp<unknown>,
  state: MachineState,
  slot: number,
  undo: Cleanup,
): Promise<ReadyVm> {
  const { sandbox, env, image, vcpus, memoryMib, diskMib } = wanted
  const spec = { id: newMachineId(), slot, image, vcpus, memoryMib, diskMib }
  let ready: ReadyVm
  if (link) ready = await goOn(context, await restore(), link, wanted, signal)
  else {
    const booted = await new PreparedVm(context, spec).restore(state, { again: 'now' }, signal)
    ready = await booted.identify({ sandbox, env }, signal)
  }
  undo.add('the machine', () => ready.unwind(new AppError('guest_disconnected', 'cannot go on: it was not resumed')))
  return ready

  async function restore(): Promise<Vm> {
    const vm = await context.driver.restore(spec, state, signal)
    undo.add('the machine', () => vm.stop())
    await context.onStep?.('resume.restored')
    return vm
  }
}

async function goOn(
  context: SandboxContext,
  vm: Vm,
  link: GuestLink,
  { sandbox, env, image }: Wanted,
  caller: AbortSignal,
): Promise<ReadyVm> {
  const { clock, driver, limits } = context
  const gone = new AbortController()
  void vm.ended.then(({ reason }) => gone.abort(new AppError('guest_disconnected', `cannot go on: ${reason}`)))
  using signal = deadline(limits.identityMs, "reach the sandbox's agent again", caller, gone.signal)
  const first = await vm.connect(signal)
  await vm.resume()
  await link.resume((retry) => vm.connect(retry), first, signal)
  try {
    await giveIdentity(link, identityOf(driver.images, image, { sandbox, env }), clock, signal)
    return new ReadyVm(context, vm, link)
  } catch (error) {
    link.close(AppError.from(error))
    throw error
  }
}
