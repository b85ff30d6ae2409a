/**
 * The gateway's messages. A field comes as `sandbox_id` or as `sandboxId`; as in protobuf's JSON null and the empty value are as good as none, and a number
 * may be text. Fields that nobody knows are passed over.
 */

import { createRequest } from '@portico/shared/api'
import { z } from 'zod'
import { fromIrisId } from './ids.ts'
import { tokenSeconds } from './tokens.ts'

/** Only the documented spelling is left. */
function spelled(given: unknown): unknown {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) return given
  const fields = Object.entries(given).flatMap(([name, value]) =>
    value === null || value === '' ? [] : [[name.replaceAll(/[A-Z]/g, (big) => `_${big.toLowerCase()}`), value]],
  )
  return Object.fromEntries(fields)
}

function message<Shape extends z.ZodRawShape>(shape: Shape) {
  return z.preprocess(spelled, z.object(shape))
}

const { name } = createRequest.shape
/** Our id; of one that cannot be an id nothing is said but that there is no such sandbox. */
const sandbox_id = z.string('it is required').transform((text) => fromIrisId(text) ?? '')
const ttl_seconds = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\d{1,9}$/)
      .transform(Number),
  ])
  .transform((seconds) => (seconds === 0 ? tokenSeconds.usual : seconds))
  .pipe(z.int().min(tokenSeconds.least).max(tokenSeconds.most))
  .default(tokenSeconds.usual)

export const createMessage = message({ name })
export const listMessage = message({})
export const sandboxMessage = message({ sandbox_id })
export const forkMessage = message({ sandbox_id, name })
export const tokenMessage = message({ sandbox_id, ttl_seconds })

export type CreateMessage = z.output<typeof createMessage>
export type SandboxMessage = z.output<typeof sandboxMessage>
export type ForkMessage = z.output<typeof forkMessage>
export type TokenMessage = z.output<typeof tokenMessage>
