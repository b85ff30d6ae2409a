/** Every function that a worker may invoke. One that is not here does not exist. */

import { channelFunctions } from './channels/functions.ts'
import { fileFunctions } from './files/functions.ts'
import type { IiiFunction } from './functions.ts'
import { sandboxFunctions } from './sandbox/functions.ts'
import { workerFunctions } from './workers.ts'

/** By id. */
export const functions: ReadonlyMap<string, IiiFunction> = new Map(
  [...workerFunctions, ...sandboxFunctions, ...fileFunctions, ...channelFunctions].map((one) => [one.id, one] as const),
)
