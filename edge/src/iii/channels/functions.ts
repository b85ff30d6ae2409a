/** `engine::channels::create`: a channel of the caller's own, between two clients or into a file of a sandbox. */

import { z } from 'zod'
import { type IiiFunction, iiiFunction } from '../functions.ts'
import { makeChannel } from './make-channel.ts'

const create = iiiFunction({
  id: 'engine::channels::create',
  needs: 'use',
  faults: false,
  // `buffer_size` is a wish of the client's: what waits is bounded here in any case.
  schema: z.object({ buffer_size: z.number().nullish() }).nullish(),
  handle: async (_payload, context) => {
    const refTo = await makeChannel(context)
    return { writer: refTo('write'), reader: refTo('read') }
  },
})

export const channelFunctions: readonly IiiFunction[] = [create]
