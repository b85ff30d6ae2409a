/**
 * What takes long in the life of a sandbox, as work beside its loop: each ends as one thing that has happened, never as a rejection. It changes the
 * record, but not the state: that is the loop's.
 */

import { abortable } from '@portico/shared/dispose'
import { AppError } from '@portico/shared/errors'
import type { Usage } from '@portico/shared/usage'
import type { CheckpointAsked, CheckpointMade, Checkpoints, CheckpointTaken } from '../checkpoint/checkpoints.ts'
import { askServices, whileFrozen } from '../guest/checkpoint.ts'
import type { GuestLink } from '../guest/link.ts'
import { giveBirth, type Origin, type SandboxContext, type Settled, type Wanted } from './birth.ts'
import { type Copy, copyOf, pagesFor } from './copy.ts'
import { Meter, type MeterStart, noUsage } from './meter.ts'
import type { RecordFile } from './record-file.ts'
import { goOn, revert as revertTo, type ServicesThen } from './revert.ts'
import { type FallAsleep, fallAsleep, stayAwake, wakeUp } from './sleep.ts'

/** Who wants a sandbox gone, or asleep. */
export type EndCause = 'asked' | 'idle' | 'drain'

/** The machine of a sandbox, while it has one. */
export interface Held extends Settled {
  readonly meter: Meter
}

export type Answer<Value> = PromiseWithResolvers<Value>

export interface AskedToCopy {
  readonly kind: 'copy'
  readonly what: 'fork' | 'snapshot'
  readonly answer: Answer<Copy>
}

export interface AskedToHibernate {
  readonly kind: 'hibernate'
  readonly cause: EndCause
  readonly answer: Answer<Usage>
}

export interface AskedToResume {
  readonly kind: 'resume'
  /** Some use of it asked, not somebody who waits for the answer. */
  readonly byItself: boolean
  readonly answer: Answer<number>
}

export interface AskedToCheckpoint {
  readonly kind: 'checkpoint'
  readonly asked: CheckpointAsked
  readonly answer: Answer<CheckpointMade>
}

/** What came of a restored checkpoint. */
export interface Reverted extends ServicesThen {
  readonly restoreMs: number
}

export interface AskedToRevert {
  readonly kind: 'revert'
  readonly checkpoint: string
  readonly answer: Answer<Reverted>
}

type Reject = (error: AppError) => void

/** What work came to. */
export type Outcome =
  | { readonly kind: 'ready'; readonly held: Held; readonly createMs: number }
  | { readonly kind: 'not-created'; readonly error: AppError }
  | { readonly kind: 'copied'; readonly broken?: string }
  | { readonly kind: 'asleep'; readonly usage: Usage; readonly asked: AskedToHibernate }
  | { readonly kind: 'awake'; readonly held: Held; readonly resumeMs: number; readonly asked: AskedToResume }
  | { readonly kind: 'reverted'; readonly held: Held; readonly reverted: Reverted; readonly asked: AskedToRevert }
  /** It could not be hibernated, resumed or put back, and is as it was before. */
  | { readonly kind: 'kept'; readonly error: AppError; readonly byItself: boolean; readonly reject: Reject }
  /** The same, and never will be of any use again. */
  | { readonly kind: 'lost'; readonly error: AppError; readonly reject: Reject }

export interface WorkParts {
  readonly context: SandboxContext
  readonly record: RecordFile
  readonly checkpoints: Checkpoints
}

/** Brings the sandbox's first machine up, or takes over the one that it had. */
export async function create(parts: WorkParts, origin: Origin, signal: AbortSignal): Promise<Outcome> {
  const { context, record } = parts
  const startedAt = performance.now()
  const known = record.current
  try {
    // Nothing is pulled for a sandbox that has no room.
    if (origin.kind === 'new' && origin.bring) context.source.mustFit(wanted(record))
    // From when it is resolved the sandbox itself keeps the image here.
    using brought = origin.kind === 'new' ? await origin.bring?.(signal) : undefined
    if (brought) record.resolve(brought.name)
    signal.throwIfAborted()
    const settled = await giveBirth(context, origin, wanted(record), signal)
    const start = known?.state === 'running' ? { before: known.usage, since: known.since } : {}
    const createMs = known?.createMs ?? Math.round(performance.now() - startedAt)
    return { kind: 'ready', held: await hold(parts, settled, start, createMs), createMs }
  } catch (thrown) {
    return { kind: 'not-created', error: AppError.from(thrown, 'cannot create the sandbox') }
  }
}

export async function copy(
  { context, record }: WorkParts,
  { what, answer }: AskedToCopy,
  { ready }: Held,
  signal: AbortSignal,
): Promise<Outcome> {
  const { onStep } = context
  try {
    answer.resolve(await copyOf(ready.vm, { pages: pagesFor(record.spec.mem_mib), what, onStep, signal }))
    return { kind: 'copied' }
  } catch (thrown) {
    const error = AppError.from(signal.aborted ? signal.reason : thrown, `cannot ${what} the sandbox`)
    answer.reject(error)
    // Whoever ended the work frees the machine; a copy that failed by itself must not leave it standing still.
    if (signal.aborted) return { kind: 'copied' }
    const runs = await ready.vm.resume().then(
      () => true,
      () => false,
    )
    return runs ? { kind: 'copied' } : { kind: 'copied', broken: error.message }
  }
}

export async function checkpoint(
  { context, record, checkpoints }: WorkParts,
  { asked, answer }: AskedToCheckpoint,
  { ready }: Held,
  signal: AbortSignal,
): Promise<Outcome> {
  try {
    const take = (folder: string) => taken(ready, folder, signal)
    answer.resolve(await checkpoints.create(asked, take))
    context.source.expectBare(wanted(record))
  } catch (thrown) {
    answer.reject(AppError.from(signal.aborted ? signal.reason : thrown, 'cannot keep a checkpoint of the sandbox'))
  }
  // Its machine has run all the time.
  return { kind: 'copied' }
}

async function taken({ vm, link }: Held['ready'], folder: string, signal: AbortSignal): Promise<CheckpointTaken> {
  const services = await askServices(link, signal)
  let pauseMs = 0
  const still = async (moment: () => Promise<void>) => {
    pauseMs = await whileFrozen(link, moment, signal)
  }
  return { disk: await vm.captureDisk({ folder, still, signal }), services, pauseMs }
}

/** Puts the sandbox on the disk of a checkpoint, in another machine. */
export async function revert(parts: WorkParts, asked: AskedToRevert, old: Held, signal: AbortSignal): Promise<Outcome> {
  const { context, record, checkpoints } = parts
  const { reject } = asked.answer
  const startedAt = performance.now()
  let still = false
  const onStill = () => {
    still = true
  }
  const keep = async (settled: Settled) =>
    await hold(parts, settled, { before: await old.meter.read() }, record.current?.createMs ?? 0)
  const options = { context, checkpoints, checkpoint: asked.checkpoint, old, wanted: wanted(record), onStill, signal }
  try {
    const { kept, services } = await revertTo({ ...options, keep })
    const restoreMs = Math.round(performance.now() - startedAt)
    old.meter.stop()
    const gone = new AppError('guest_disconnected', 'cannot go on: a checkpoint of the sandbox was restored')
    // The next start of the runner finds a machine that could not be stopped.
    await old.ready.unwind(gone).catch((error: unknown) => context.log.error({ error }, 'sandbox.free'))
    old.place.release()
    await context.onStep?.('revert.stopped')
    return { kind: 'reverted', held: kept, reverted: { ...services, restoreMs }, asked }
  } catch (thrown) {
    // Whoever ended the work frees the machine.
    if (signal.aborted) return { kind: 'kept', error: AppError.from(signal.reason), byItself: false, reject }
    const error = AppError.from(thrown, 'cannot restore the checkpoint')
    try {
      if (still) await goOn(options)
      return { kind: 'kept', error, byItself: false, reject }
    } catch (cause) {
      context.log.warn({ sandbox: record.facts.sandbox, error: cause }, 'sandbox.go-on')
      return { kind: 'lost', error, reject }
    }
  }
}

export async function hibernate(
  { context, record, checkpoints }: WorkParts,
  asked: AskedToHibernate,
  held: Held,
  signal: AbortSignal,
): Promise<Outcome> {
  const { reject } = asked.answer
  const number = record.saved + 1
  let usage = noUsage
  const options: FallAsleep = {
    context,
    settled: held,
    generation: record.facts.generation,
    folder: record.savedFolder(number),
    record: async () => {
      usage = { ...(await held.meter.read()), mem_current_bytes: 0 }
      await record.hibernated(number, usage)
    },
    signal,
  }
  try {
    // What sleeps outlives its host's power.
    await abortable(checkpoints.settled(), signal)
    await fallAsleep(options)
    held.meter.stop()
    return { kind: 'asleep', usage, asked }
  } catch (thrown) {
    // Whoever ended the work frees the machine.
    if (signal.aborted) return { kind: 'kept', error: AppError.from(signal.reason), byItself: false, reject }
    const error = AppError.from(thrown, 'cannot hibernate the sandbox')
    try {
      await stayAwake(options)
      return { kind: 'kept', error, byItself: asked.cause !== 'asked', reject }
    } catch (cause) {
      context.log.warn({ sandbox: record.facts.sandbox, error: cause }, 'sandbox.stay-awake')
      return { kind: 'lost', error, reject }
    }
  }
}

/** What no second try can mend. */
const hopeless: ReadonlySet<string> = new Set(['snapshot_damaged', 'snapshot_incompatible', 'snapshot_not_found'])

/** `link` is the suspended one, if there is one. */
export async function resume(
  parts: WorkParts,
  asked: AskedToResume,
  before: Usage,
  link: GuestLink | undefined,
  signal: AbortSignal,
): Promise<Outcome> {
  const { context, record } = parts
  const startedAt = performance.now()
  const folder = record.savedFolder(record.saved)
  const createMs = record.current?.createMs ?? 0
  try {
    const keep = (settled: Settled) => hold(parts, settled, { before }, createMs)
    const held = await wakeUp({ context, wanted: wanted(record), folder, link, keep, signal })
    await context.onStep?.('resume.recorded')
    await record.clearSaved().catch((error: unknown) => context.log.error({ error }, 'sandbox.free'))
    await context.onStep?.('resume.cleaned')
    return { kind: 'awake', held, resumeMs: Math.round(performance.now() - startedAt), asked }
  } catch (thrown) {
    const error = AppError.from(signal.aborted ? signal.reason : thrown, 'cannot resume the sandbox')
    const { reject } = asked.answer
    if (hopeless.has(error.code)) return { kind: 'lost', error, reject }
    // Only its machine ended: it sleeps on, and may be tried again.
    const again = error.code === 'sandbox_failed' ? new AppError('boot_failed', error.message, { cause: error }) : error
    return { kind: 'kept', error: again, byItself: asked.byItself, reject }
  }
}

function wanted({ facts, spec }: RecordFile): Wanted {
  const { vcpus, mem_mib: memoryMib, disk_mib: diskMib, env } = spec
  return { sandbox: facts.sandbox, image: facts.resolvedImage, vcpus, memoryMib, diskMib, env }
}

/** Makes a machine the truth, or frees it. */
async function hold(
  { context, record }: WorkParts,
  { ready, place }: Settled,
  start: MeterStart,
  createMs: number,
): Promise<Held> {
  const meter = new Meter(ready.vm, context.clock, start)
  const { before: usage, since } = meter
  try {
    await record.running({ machine: { id: ready.vm.id, slot: place.slot }, since, usage, createMs })
    return { ready, place, meter }
  } catch (cause) {
    meter.stop()
    const error = AppError.from(cause, 'cannot keep a record of the sandbox')
    await ready.unwind(error)
    place.release()
    throw error
  }
}
