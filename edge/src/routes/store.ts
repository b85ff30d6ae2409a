/** `/v1/runs/{id}/store…`: JSON values by key in the sandbox's record. Values cross to its object as text. */

import { type StoreKeys, type storeBatchRequest, storeLimits, type storeSetRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import type { z } from 'zod'
import type { SandboxCall } from '../call.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { StoreChange } from '../ports.ts'
import { timestamp } from './accounts.ts'
import { numberIn } from './joined.ts'
import { json } from './row.ts'
import { sandboxOf } from './runs.ts'

const usualKeys = 100
const mostKeys = 1000
/** Of a batch, and of its values as they go to the object: numbers may be longer there than they were written. */
const batchLength = 8_388_608

/** One value in the longest spelling that JSON has, which takes six bytes for one. */
export function oneValue<Schema extends z.ZodType>(schema: Schema) {
  return { ...json(schema), maxBytes: 6 * storeLimits.valueBytes + 4096 } as const
}

/** A body of at most 8 MiB. */
export function batchOf<Schema extends z.ZodType>(schema: Schema) {
  return { ...json(schema), maxBytes: batchLength } as const
}

/** `GET /v1/runs/{id}/store?prefix=&limit=&after=` */
export async function listStore(call: SandboxCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const { searchParams } = call.url
  const limit = numberIn(call.url, 'limit', 1, mostKeys) ?? usualKeys
  const input = { prefix: searchParams.get('prefix') ?? '', limit, after: searchParams.get('after') }
  const keys = unwrap(await reach('list the store', sandbox.storeKeys(call.principal, input)))
  return Response.json(keys satisfies StoreKeys)
}

/** `GET /v1/runs/{id}/store/{key}` */
export async function readValue(call: SandboxCall): Promise<Response> {
  const { sandbox } = sandboxOf(call)
  const key = call.parameter('key')
  const { json, expiresAt } = unwrap(await reach('read the store', sandbox.storeGet(call.principal, key)))
  const expires_at = expiresAt === null ? null : timestamp(expiresAt)
  const body = `{"key":${JSON.stringify(key)},"value":${json},"expires_at":${JSON.stringify(expires_at)}}`
  return new Response(body, { headers: { 'content-type': 'application/json' } })
}

/** `PUT /v1/runs/{id}/store/{key}` */
export async function setValue(call: SandboxCall<z.output<typeof storeSetRequest>>): Promise<Response> {
  const { value, ttl_seconds } = call.body
  await apply(call, [{ key: call.parameter('key'), json: textOf(value), ttlSeconds: ttl_seconds ?? null }])
  return Response.json({ ok: true })
}

/** `DELETE /v1/runs/{id}/store/{key}` */
export async function deleteValue(call: SandboxCall): Promise<Response> {
  const [deleted = false] = await apply(call, [{ key: call.parameter('key'), json: null, ttlSeconds: null }])
  return Response.json({ ok: true, deleted })
}

/** `POST /v1/runs/{id}/store/batch` */
export async function changeStore(call: SandboxCall<z.output<typeof storeBatchRequest>>): Promise<Response> {
  const { operations } = call.body
  const changes = operations.map((operation): StoreChange => {
    if (operation.op === 'delete') return { key: operation.key, json: null, ttlSeconds: null }
    return { key: operation.key, json: textOf(operation.value), ttlSeconds: operation.ttl_seconds ?? null }
  })
  if (changes.reduce((sum, { json }) => sum + (json?.length ?? 0), 0) > batchLength) {
    const why = `its values have more than ${batchLength} characters together when they are written out`
    throw new AppError('payload_too_large', `cannot change the store: ${why}`)
  }
  await apply(call, changes)
  return Response.json({ ok: true, applied: changes.length })
}

async function apply(call: SandboxCall, changes: readonly StoreChange[]): Promise<readonly boolean[]> {
  const { sandbox } = sandboxOf(call)
  return unwrap(await reach('change the store', sandbox.storeApply(call.principal, changes)))
}

/** A parsed value as text again. */
function textOf(value: unknown): string {
  try {
    return JSON.stringify(value)
  } catch {
    throw new AppError('invalid_request', 'cannot set the value: it is nested too deeply')
  }
}
