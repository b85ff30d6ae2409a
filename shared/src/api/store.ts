/** `/v1/runs/{id}/store…`, and the same below a sandbox's own host as `/v1/store…`: JSON values by key in the sandbox's record; works while the sandbox sleeps. */

import { z } from 'zod'

/** Limits, each told by its own line when it is met. */
export const storeLimits = {
  keyBytes: 512,
  /** Of a value's JSON text. */
  valueBytes: 262_144,
  keys: 10_000,
  /** Of all values together. */
  totalBytes: 67_108_864,
  batch: 1000,
  /** Ten years. */
  ttlSeconds: 315_360_000,
} as const

export const storeKey = z.string().min(1)
const ttl = z.number().positive().max(storeLimits.ttlSeconds)
/** Whatever JSON can say: it was read from a body, so nothing of it is looked at again. */
const value = z.custom<z.core.util.JSONType>((given) => given !== undefined, 'a JSON value')

/** `PUT …/store/{key}`: replaces; without a ttl it never expires. */
export const storeSetRequest = z.object({ value, ttl_seconds: ttl.nullish() })
export type StoreSetRequest = z.input<typeof storeSetRequest>
export const storeSet = z.object({ ok: z.literal(true) })

/** `GET …/store/{key}`; 404 for one that is missing or has expired. */
export const storeEntry = z.object({ key: z.string(), value, expires_at: z.string().nullable() })
export type StoreEntry = z.infer<typeof storeEntry>

/** `DELETE …/store/{key}`: of a missing one `deleted` is false. */
export const storeDeleted = z.object({ ok: z.literal(true), deleted: z.boolean() })

/** `GET …/store?prefix=&limit=100&after=`: names in the order of their bytes; the last one given as `after` leads to the next page. */
export const storeKeys = z.object({ keys: z.array(z.string()), truncated: z.boolean() })
export type StoreKeys = z.infer<typeof storeKeys>

/** `POST …/store/batch`: all of it or nothing. */
export const storeBatchRequest = z.object({
  operations: z
    .array(
      z.discriminatedUnion('op', [
        z.object({ op: z.literal('set'), key: storeKey, value, ttl_seconds: ttl.nullish() }),
        z.object({ op: z.literal('delete'), key: storeKey }),
      ]),
    )
    .max(storeLimits.batch),
})
export type StoreBatchRequest = z.input<typeof storeBatchRequest>
export const storeBatch = z.object({ ok: z.literal(true), applied: z.int() })
