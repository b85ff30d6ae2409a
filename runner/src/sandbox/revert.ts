/**
 * Puts a sandbox back on the disk of one of its checkpoints, in a machine of its own. Until the record names that machine the old one is the sandbox: it
 * stands still meanwhile, and goes on as it was if anything fails.
 *
 *   proof of the checkpoint ─▶ template, second place ─▶ old one paused ─▶ restored with the disk ─▶ mounted ─▶ identity ─▶ services ─▶ record
 *
 * The new machine is made of a template whose guest waits before it looks at its disks: so they can be any, and nothing has to boot.
 */

import { Cleanup, deadline } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { Reservation } from '../capacity.ts'
import type { Checkpoints, OpenCheckpoint } from '../checkpoint/checkpoints.ts'
import { giveIdentity } from '../guest/agent.ts'
import { askServices, mountDisks, restoreServices, type ServiceState } from '../guest/checkpoint.ts'
import type { Bare } from '../pool/source.ts'
import { newMachineId } from '../vm/machine-id.ts'
import type { SandboxContext, Settled, Wanted } from './birth.ts'
import { identityOf } from './identity.ts'
import { type BootedVm, PreparedVm } from './phases.ts'

/** What became of services, by name. */
export interface ServicesThen {
  readonly started: readonly string[]
  readonly stopped: readonly string[]
  readonly failed: readonly string[]
}

export interface Revert<Kept> {
  readonly context: SandboxContext
  readonly checkpoints: Checkpoints
  readonly checkpoint: string
  readonly old: Settled
  readonly wanted: Wanted
  /** Called before the old machine stands still. */
  readonly onStill: () => void
  /** Makes the new machine the truth, or rejects having freed it. */
  readonly keep: (settled: Settled) => Promise<Kept>
  readonly signal: AbortSignal
}

/** May have to build a template, and starts services. */
const revertLimitMs = 360_000

/** Resolves when the new machine is the sandbox; the old one stands still then, and is the caller's to free. Rejects having freed the new one. */
export async function revert<Kept>(options: Revert<Kept>): Promise<{ kept: Kept; services: ServicesThen }> {
  const { checkpoints, checkpoint, context } = options
  using signal = deadline(revertLimitMs, 'restore the checkpoint', options.signal)
  return await checkpoints.use(
    checkpoint,
    async (open) => {
      mustFit(context, options.wanted, open)
      const ran = running(await askServices(options.old.ready.link, signal))
      const undo = new Cleanup()
      try {
        const { bare, place } = await room(options, signal)
        undo.add('the place', () => place.release())
        const { kept, started, failed } = await inNewMachine({ ...options, signal }, open, bare, place, undo)
        const wanted = running(open.services)
        return { kept, services: { started, failed, stopped: ran.filter((name) => !wanted.includes(name)) } }
      } catch (error) {
        await undo.run().catch((cause: unknown) => context.log.error({ error: cause }, 'sandbox.free'))
        throw signal.aborted ? signal.reason : error
      }
    },
    signal,
  )
}

/** After a failure of `revert`: the old machine goes on. Rejects if it cannot. */
export async function goOn({ context, old, wanted }: Omit<Revert<unknown>, 'keep'>): Promise<void> {
  const { link, vm } = old.ready
  const { driver, clock, limits, log } = context
  await vm.resume()
  link.startKeepalive()
  using signal = deadline(limits.identityMs, "set the sandbox's clock again")
  const identity = identityOf(driver.images, wanted.image, wanted)
  // For its clock, which stood still: to the guest nothing else changes.
  await giveIdentity(link, identity, clock, signal).catch((error: unknown) =>
    log.warn({ sandbox: wanted.sandbox, error }, 'sandbox.clock'),
  )
}

async function inNewMachine<Kept>(
  { context, old, wanted, onStill, keep, signal }: Revert<Kept>,
  open: OpenCheckpoint,
  bare: Bare,
  place: Reservation,
  undo: Cleanup,
): Promise<{ kept: Kept; started: readonly string[]; failed: readonly string[] }> {
  const { onStep } = context
  onStill()
  old.ready.link.stopKeepalive()
  await old.ready.vm.pause()
  await onStep?.('revert.paused')
  const booted = await bootedOn(context, wanted, place, open, bare, signal)
  await onStep?.('revert.mounted')
  const ready = await booted.identify({ sandbox: wanted.sandbox, env: wanted.env }, signal)
  undo.add('the machine', () => ready.unwind(new AppError('guest_disconnected', 'cannot go on: it was not restored')))
  await onStep?.('revert.identified')
  const { started, failed } = await restoreServices(ready.link, open.services, signal)
  signal.throwIfAborted()
  await onStep?.('revert.ready')
  const kept = await keep({ ready, place })
  await onStep?.('revert.recorded')
  return { kept, started, failed }
}

/** A machine that has the disk. */
async function bootedOn(
  context: SandboxContext,
  { image, vcpus, memoryMib, diskMib }: Wanted,
  { slot }: Reservation,
  { layers }: OpenCheckpoint,
  bare: Bare,
  signal: AbortSignal,
): Promise<BootedVm> {
  const spec = { id: newMachineId(), slot, image, vcpus, memoryMib, diskMib }
  // The disk has its size from the first moment on: the guest has not seen another.
  const state = { ...bare.state, layers, shape: { ...bare.state.shape, diskMib } }
  try {
    const booted = await new PreparedVm(context, spec).restore(state, { again: true }, signal)
    try {
      await mountDisks(booted.channel, signal)
    } catch (error) {
      await booted.unwind()
      throw error
    }
    await bare.came(true)
    return booted
  } catch (error) {
    if (!signal.aborted) await bare.came(false)
    throw error
  }
}

/** What the second machine is made of, and where. */
async function room(
  { context, wanted }: Revert<unknown>,
  signal: AbortSignal,
): Promise<{ bare: Bare; place: Reservation }> {
  try {
    const bare = await context.source.bare(wanted, signal)
    return { bare, place: await context.source.reserve(wanted, signal) }
  } catch (cause) {
    if (!(cause instanceof AppError && cause.code === 'capacity')) throw cause
    const why = 'its runner has no room for the second machine that this takes for a moment'
    throw new AppError('capacity', `cannot restore the checkpoint: ${why}`, { cause })
  }
}

/** A disk belongs to the image that it was laid over. */
function mustFit({ driver }: SandboxContext, { image, diskMib }: Wanted, { shape }: OpenCheckpoint): void {
  if (driver.images.get(image)?.digest === shape.image.digest && shape.diskMib <= diskMib) return
  throw new AppError('snapshot_incompatible', 'cannot restore the checkpoint: its image is another one by now')
}

function running(services: readonly ServiceState[]): string[] {
  return services.filter((one) => one.running).map(({ name }) => name)
}
