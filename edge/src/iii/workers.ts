/** What a worker tells of itself. It is heard and not kept: nothing here asks for it. */

import { z } from 'zod'
import { iiiFunction } from './functions.ts'

export const workerFunctions = [
  iiiFunction({
    id: 'engine::workers::register',
    needs: 'read',
    schema: z.unknown(),
    handle: async () => ({}),
  }),
]
