/** `sandbox::stop`: the end of a sandbox. It is over when this is answered, whether `wait` says so or not. */

import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { destroyRun } from '../../routes/runs.ts'
import { iiiFunction } from '../functions.ts'
import { sandboxIdOf, unknownSandbox } from '../named-sandbox.ts'

export const stop = iiiFunction({
  id: 'sandbox::stop',
  needs: 'manage',
  schema: z.object({ sandbox_id: z.string(), wait: z.boolean().nullish() }),
  async handle({ sandbox_id }, context) {
    const id = sandboxIdOf(sandbox_id)
    try {
      await destroyRun(context.call(id))
    } catch (thrown) {
      // One that is over is as one that never was.
      throw AppError.from(thrown).code === 'sandbox_not_found' ? unknownSandbox(sandbox_id) : thrown
    }
    return { sandbox_id, stopped: true }
  },
})
