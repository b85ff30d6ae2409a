/** The store of the wire server's sandboxes. */

import { storeBatchRequest, storeSetRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { parse, type SeenRequest } from './wire-request.ts'
import type { StoredSandbox } from './wire-saved.ts'

/** When what expires in a second does. */
const epoch = Date.UTC(2026, 0, 1)

export function store({ store: all }: StoredSandbox, seen: SeenRequest, encoded?: string): unknown {
  const set = (key: string, value: unknown, ttl: number | null | undefined) => {
    const expires_at = typeof ttl === 'number' ? new Date(epoch + ttl * 1000).toISOString() : null
    all.set(key, { key, value: value as null, expires_at })
  }
  if (encoded === undefined) return list([...all.keys()].sort(), seen.query)
  if (encoded === 'batch' && seen.method === 'POST') {
    const { operations } = parse(storeBatchRequest, seen)
    for (const one of operations)
      if (one.op === 'set') set(one.key, one.value, one.ttl_seconds)
      else all.delete(one.key)
    return { ok: true, applied: operations.length }
  }
  const key = decodeURIComponent(encoded)
  if (seen.method === 'DELETE') return { ok: true, deleted: all.delete(key) }
  if (seen.method === 'PUT') {
    const { value, ttl_seconds } = parse(storeSetRequest, seen)
    set(key, value, ttl_seconds)
    return { ok: true }
  }
  const entry = all.get(key)
  if (entry === undefined) throw new AppError('not_found', `cannot get ${key}: there is no such key`)
  return entry
}

function list(keys: readonly string[], query: URLSearchParams): unknown {
  const after = query.get('after') ?? ''
  const fits = keys.filter((key) => key.startsWith(query.get('prefix') ?? '') && key > after)
  const limit = Number(query.get('limit') ?? 100)
  return { keys: fits.slice(0, limit), truncated: fits.length > limit }
}
