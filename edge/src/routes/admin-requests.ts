/** Bodies of the admin API. */

import { parseRegion } from '@portico/shared/ids'
import { z } from 'zod'

const name = z.string().trim().min(1).max(200)
const region = z.string().refine((text) => parseRegion(text) !== undefined, 'a region is 2 to 16 letters and digits')

/** `POST /admin/accounts` */
export const nameRequest = z.object({ name })
/** `POST /admin/accounts/{id}/keys` */
export const keyRequest = z.object({ region, name: name.default('key') })
/** `POST /admin/runners` */
export const runnerRequest = z.object({ region, name: name.default('runner') })

export type NameRequest = z.output<typeof nameRequest>
export type KeyRequest = z.output<typeof keyRequest>
export type RunnerRequest = z.output<typeof runnerRequest>
