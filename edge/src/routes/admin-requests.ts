/** Bodies of the admin API. */

import { accountLimits, keyScopes, runnerDrainModes } from '@portico/shared/api'
import { parseRegion } from '@portico/shared/ids'
import { z } from 'zod'

const name = z.string().trim().min(1).max(200)
const region = z.string().refine((text) => parseRegion(text) !== undefined, 'a region is 2 to 16 letters and digits')

/** `POST /admin/accounts` */
export const nameRequest = z.object({ name })
/** `POST /admin/accounts/{id}/keys` */
export const keyRequest = z.object({
  region,
  name: name.default('key'),
  scope: z.enum(keyScopes).default('full'),
  /** Seconds from now; without it the key does not expire. */
  expires_in: z
    .int()
    .min(1)
    .max(100 * 365 * 86_400)
    .optional(),
})
/** `PUT /admin/accounts/{id}/limits`. A name that is no limit's is a mistake and is not passed over. */
export const limitsRequest = accountLimits.partial().strict()
/** `POST /admin/runners` */
export const runnerRequest = z.object({ region, name: name.default('runner') })
/** `POST /admin/runners/{id}/drain` */
export const drainRequest = z.object({ mode: z.enum(runnerDrainModes).default('wait') })

export type NameRequest = z.output<typeof nameRequest>
export type LimitsRequest = z.output<typeof limitsRequest>
export type KeyRequest = z.output<typeof keyRequest>
export type RunnerRequest = z.output<typeof runnerRequest>
export type DrainRequest = z.output<typeof drainRequest>
