/**
 * Making a sandbox: a place is reserved in the region, a runner is asked with a generation of its own, and the answer counts only while
 * that generation is in force. A runner that has no room after all is passed over; any other failure ends the sandbox, as its id was
 * never given to anybody.
 */

import type { RunRecord } from '@portico/shared/api'
import type { SandboxSpec } from '@portico/shared/control'
import { AppError, type WireError } from '@portico/shared/errors'
import { after } from '@portico/shared/lifecycle'
import { isImageRefusal, mostTelling } from '../placement/refusal.ts'
import { reach } from '../platform-errors.ts'
import type { CallOutcome, Created, CreateInput } from '../ports.ts'
import { createdBefore } from './again.ts'
import { asked } from './asked.ts'
import { finishDestroy, startDestroy } from './destroy.ts'
import type { Fence } from './fence.ts'
import type { Life } from './life.ts'
import { newRecord, publicRecord } from './record.ts'

const mostPlacements = 3

/** Creates the sandbox and answers its record once it runs. */
export function create(life: Life, input: CreateInput): Promise<RunRecord> {
  if (life.record !== undefined) return createdBefore(life, input)
  life.begin(newRecord(input, life.clock.now()))
  return life.once('create', async () => {
    try {
      return await makeSomewhere(life, input)
    } finally {
      await life.publish()
    }
  })
}

async function makeSomewhere(life: Life, input: CreateInput): Promise<RunRecord> {
  const avoid: string[] = []
  let refusal: AppError | undefined
  while (avoid.length < mostPlacements) {
    const fence = await place(life, input, avoid, refusal)
    const answer = await askRunner(life, fence, input)
    if (!life.holds(fence) || life.known.state !== 'creating') throw overtaken(life)
    if (answer.ok) return ready(life, answer.value)
    if (!isRefusal(answer)) throw fail(life, answer)
    refusal = mostTelling(refusal, AppError.fromWire(answer.error))
    avoid.push(fence.runner)
  }
  throw giveUp(life, refusal ?? overtaken(life))
}

async function place(life: Life, input: CreateInput, avoid: string[], refusal: AppError | undefined): Promise<Fence> {
  const { sandbox, region, spec, boots = spec.image } = input
  const need = { sandbox, region, image: boots, memMib: spec.mem_mib, vcpus: spec.vcpus, avoid }
  const placed = await reach('create the sandbox', life.objects.region(region).place(need)).catch((thrown) => {
    throw giveUp(life, AppError.from(thrown))
  })
  if (life.known.state !== 'creating') {
    giveBackPlace(life)
    throw overtaken(life)
  }
  if (!placed.ok) throw giveUp(life, refusedBy(refusal, AppError.fromWire(placed.error)))
  const { generation } = life.change({ runner: placed.value, generation: life.known.generation + 1 })
  life.inBackground('tell the account', life.publish())
  return { runner: placed.value, generation }
}

function askRunner(life: Life, fence: Fence, input: CreateInput): Promise<CallOutcome<Created>> {
  const runner = life.objects.runner(fence.runner)
  const spec = bootSpec(input)
  return asked('create the sandbox', runner.create(input.sandbox, fence.generation, spec, input.trace))
}

/** As the runner gets it: names of the account's own mean nothing to it. */
export function bootSpec({ spec, boots = spec.image }: CreateInput): SandboxSpec {
  return { ...spec, image: boots }
}

/** It runs. */
export function ready(life: Life, made: Created): RunRecord {
  const record = life.change({
    state: after(life.known.state, 'ready'),
    resolvedImage: made.resolvedImage,
    createMs: made.createMs,
    runningSince: life.clock.now(),
  })
  return publicRecord(record)
}

/** A runner without room or without this image, or one that went away before it heard of the sandbox: another may do it. */
function isRefusal({ reached, error }: { reached: string; error: WireError }): boolean {
  return reached === 'not_sent' || (reached === 'answered' && (error.code === 'capacity' || isImageRefusal(error)))
}

/** Nobody is left to ask. That a runner which has the image is full says more than that others do not have it. */
function refusedBy(refusal: AppError | undefined, none: AppError): AppError {
  return refusal === undefined || (none.code === 'capacity' && isImageRefusal(refusal)) ? none : refusal
}

/** The runner has said that it failed and freed everything, or never heard of it; or nobody knows, and then it is told to destroy it until it confirms. */
export function fail(life: Life, answer: { reached: string; error: WireError }): AppError {
  const error = AppError.fromWire(answer.error)
  if (answer.reached !== 'unknown') return giveUp(life, error)
  startDestroy(life, error.message)
  life.inBackground('undo the create', finishDestroy(life))
  return error
}

/** It never was. */
export function giveUp(life: Life, error: AppError): AppError {
  life.end(null, error.message)
  giveBackPlace(life)
  return error
}

/** No runner needs to keep room for it. */
export function giveBackPlace(life: Life): void {
  const { id, region } = life.known
  life.inBackground('give the place back', life.objects.region(region).release(id))
}

/** It ended on the way: somebody destroyed it, or what was to make it was interrupted, and then a new call may make another. */
export function overtaken(life: Life): AppError {
  if (life.known.reason === null) {
    return new AppError('conflict', 'cannot create the sandbox: it was destroyed while it was being created')
  }
  return new AppError('boot_failed', `cannot create the sandbox: ${life.known.reason}; try again`)
}
