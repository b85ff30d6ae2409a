/** `sandbox::catalog::list`: what `sandbox::create` boots by name. */

import { z } from 'zod'
import { iiiFunction } from '../functions.ts'
import { catalogOf } from './policy.ts'

export const catalog = iiiFunction({
  id: 'sandbox::catalog::list',
  needs: 'read',
  schema: z.object({}).nullish(),
  handle: async (_payload, context) => ({ images: await catalogOf(context) }),
})
