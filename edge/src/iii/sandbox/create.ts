/** `sandbox::create`: an ordinary sandbox, made as `/v1/runs` makes one, under the names and defaults of the region's policy. */

import { createRequest, type RunRecord, runRecord } from '@portico/shared/api'
import { sleep } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { uuidOf } from '@portico/shared/ids'
import { z } from 'zod'
import { succeeded } from '../../middleware/succeeded.ts'
import { unwrap } from '../../outcome.ts'
import { reach } from '../../platform-errors.ts'
import { createRun } from '../../routes/runs.ts'
import type { InvocationContext } from '../context.ts'
import { Fault } from '../errors.ts'
import { iiiFunction } from '../functions.ts'
import { defaultsOf } from './policy.ts'
import { variables, variablesOf } from './variables.ts'

const count = z.int().min(0)

export const createPayload = z.object({
  image: z.string(),
  cpus: count.nullish(),
  memory_mb: count.nullish(),
  name: z.string().nullish(),
  network: z.boolean().nullish(),
  /** 0 is never. */
  idle_timeout_secs: count.nullish(),
  env: variables,
})
export type CreatePayload = z.output<typeof createPayload>

export const create = iiiFunction({
  id: 'sandbox::create',
  needs: 'manage',
  schema: createPayload,
  handle: async (payload, context) => created(await makeSandbox(payload, context)),
  interrupted: async (sandbox, context) => created(await madeMeanwhile(sandbox, context)),
})

/** What is answered of a sandbox that was made. `image` is the name that was asked for. */
export function created({ id, image }: Pick<RunRecord, 'id' | 'image'>) {
  return { sandbox_id: uuidOf(id as Parameters<typeof uuidOf>[0]), image }
}

/** Makes the sandbox, within the account's quotas and noted in its audit log. */
export async function makeSandbox(payload: CreatePayload, context: InvocationContext): Promise<RunRecord> {
  const { image, name, network } = payload
  if (network) throw new Fault('S001', 'network is not available on this platform yet')
  const defaults = await defaultsOf(context)
  if (!defaults.allows(image)) throw new Fault('S100', `image not allowed: ${image.slice(0, 200)}`)
  const asked = {
    image,
    vcpus: within('cpus', payload.cpus ?? defaults.cpus, mostCpus),
    mem_mib: within('memory_mb', payload.memory_mb ?? defaults.memoryMb, mostMemoryMb),
    timeout: payload.idle_timeout_secs ?? defaults.idleTimeoutSecs,
    env: variablesOf(payload.env),
    ...(name == null ? {} : { name }),
  }
  const body = createRequest.safeParse(asked)
  if (!body.success) throw new Fault('S001', describe(body.error))
  return runRecord.parse(await succeeded(await createRun(context.call(null, body.data))))
}

/**
 * What became of a sandbox whose creator was interrupted. Its object knows, and is asked to create it once more where it is still at it: that joins what is
 * under way, or finds that it was interrupted, too, and makes nothing.
 */
async function madeMeanwhile(sandbox: string | null, context: InvocationContext): Promise<RunRecord> {
  const { objects, principal } = context
  const interrupted = new AppError('boot_failed', 'cannot create the sandbox: the platform interrupted it; try again')
  if (sandbox === null) throw interrupted
  const object = objects.sandbox(sandbox)
  let read = await reach('read the sandbox', object.read(principal))
  if (!read.ok && read.error.code === 'sandbox_not_found') {
    // The call that makes it may still be on its way.
    await sleep(lateMs, context.signal, context.services.clock)
    read = await reach('read the sandbox', object.read(principal))
  }
  if (!read.ok) throw interrupted
  const { status, reason = 'it failed', timeout: idle_timeout, ...rest } = read.value
  if (status === 'error' || status === 'lost') throw new AppError('boot_failed', `cannot create the sandbox: ${reason}`)
  if (status !== 'creating') return read.value
  const { image, vcpus, mem_mib, disk_mib, auto_resume, on_idle } = rest
  const spec = { image, vcpus, mem_mib, disk_mib, idle_timeout, env: {}, auto_resume, on_idle }
  return unwrap(await reach('create the sandbox', object.create({ ...principal, sandbox, spec })))
}

/** How long after its caller was interrupted a create may still arrive. */
export const lateMs = 5000
const mostCpus = 8
const mostMemoryMb = 32_768

/** More than any sandbox may have is refused as more than a cap is; a cap of the image is its runner's to know. */
function within(field: string, value: number, most: number): number {
  if (value <= most) return value
  throw new Fault('S400', `${field}=${value} exceeds the platform's cap ${most}`)
}

const names: Readonly<Record<string, string>> = { vcpus: 'cpus', mem_mib: 'memory_mb', timeout: 'idle_timeout_secs' }

function describe({ issues: [issue] }: z.ZodError): string {
  const [field = 'payload', ...rest] = issue?.path ?? []
  const path = [names[String(field)] ?? String(field), ...rest.map(String)].join('.')
  return `${path}: ${issue?.message ?? 'it is not valid'}`
}
