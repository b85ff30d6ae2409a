/**
 * Sandboxes of whatever `image` names. The account says in the call that admits whether that is an image of its own; then a pull is booted by
 * its resolved name, and a build is restored. Names that the region's runners have mean what they mean for everybody: nobody shadows those.
 */

import type { RunRecord } from '@portico/shared/api'
import type { SandboxSpec } from '@portico/shared/control'
import { AppError } from '@portico/shared/errors'
import { admitted } from '../account/admission.ts'
import type { Services } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, CreateInput, Marks, Objects, OwnImage } from '../ports.ts'
import { imagesOf } from './region.ts'

const action = 'create the sandbox'

/** What was asked for of the machine; what was not is the image's, or else the usual. */
export interface Machine {
  readonly vcpus?: number | undefined
  readonly mem_mib?: number | undefined
  readonly disk_mib?: number | undefined
}

export interface Wanted {
  readonly sandbox: string
  readonly principal: Caller
  readonly spec: Omit<SandboxSpec, keyof Machine>
  readonly machine: Machine
  readonly marks: Marks
  readonly trace?: string | undefined
}

interface Asked {
  readonly objects: Objects
  readonly services: Pick<Services, 'images'>
}

const usual = { vcpus: 1, mem_mib: 1024, disk_mib: 4096 }

/** Creates the sandbox and answers its record once it runs. */
export async function createOf(asked: Asked, wanted: Wanted): Promise<RunRecord> {
  const { objects } = asked
  const { principal, sandbox, spec, machine } = wanted
  const whole = { ...spec, ...machineOf(machine) }
  const room = { action, sandboxes: [sandbox], vcpus: whole.vcpus, memMib: whole.mem_mib }
  const account = objects.account(principal.account)
  const input = { ...principal, sandbox, trace: wanted.trace, spec: whole, marks: wanted.marks }
  const plain = () => objects.sandbox(sandbox, principal.region).create(input)
  const image = { region: principal.region, name: spec.image }
  let isShadowed = false
  const make = async (own: OwnImage | undefined) => {
    isShadowed = own !== undefined && (await imagesOf(asked, principal.region)).includes(spec.image)
    if (isShadowed) return { ok: false, error: shadowed.toWire() } as const
    return own === undefined ? plain() : createOfOwn(objects, wanted, input, own)
  }
  try {
    return await admitted(account, { ...room, image }, make)
  } catch (thrown) {
    // The room was for the account's own image: it is asked for anew.
    if (isShadowed) return admitted(account, room, plain)
    throw thrown
  }
}

/** Never seen: the call goes on without the account's own image. */
const shadowed = new AppError('conflict', 'cannot use the image of the account: the region has one of this name')

async function createOfOwn(objects: Objects, { machine }: Wanted, input: CreateInput, own: OwnImage) {
  const { sandbox, region, spec } = input
  const object = objects.sandbox(sandbox, region)
  if (own.kind === 'pull') return object.create({ ...input, boots: own.boots })
  const { id, runner, resolvedImage: boots, spec: built } = own.snapshot
  for (const name of ['vcpus', 'mem_mib', 'disk_mib'] as const) {
    if (machine[name] === undefined || machine[name] === built[name]) continue
    const why = `${name} = ${machine[name]}, but the image ${spec.image} was built with ${name} = ${built[name]}`
    return { ok: false, error: new AppError('invalid_request', `cannot ${action}: ${why}`).toWire() } as const
  }
  const { vcpus, mem_mib, disk_mib } = built
  const whole = { ...spec, vcpus, mem_mib, disk_mib }
  const made = await object.restore({ ...input, snapshot: id, runner, boots, spec: whole })
  // Nobody was ever told of the snapshot.
  return made.ok || made.error.code !== 'snapshot_not_found' ? made : { ok: false as const, error: replaced.toWire() }
}

const replaced = new AppError(
  'image_not_found',
  `cannot ${action}: its image was deleted or replaced meanwhile; try again`,
)

/** The whole machine, where the image has none of its own. */
export function machineOf({ vcpus, mem_mib, disk_mib }: Machine): typeof usual {
  return {
    vcpus: vcpus ?? usual.vcpus,
    mem_mib: mem_mib ?? usual.mem_mib,
    disk_mib: disk_mib ?? usual.disk_mib,
  }
}

/** Ends a sandbox that may be over already; what its object has taken on it finishes by itself. */
export async function endSandbox(objects: Objects, principal: Caller, sandbox: string): Promise<void> {
  const ended = await reach('destroy the sandbox', objects.sandbox(sandbox).destroy(principal))
  if (!ended.ok && ended.error.code !== 'sandbox_not_found' && !goesOn.includes(ended.error.code)) unwrap(ended)
}

/** Its runner could not be asked; its own alarm asks again. */
const goesOn: readonly string[] = ['runner_disconnected', 'deadline', 'edge_disconnected', 'overloaded']
