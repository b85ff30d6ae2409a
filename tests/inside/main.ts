/**
 * `npm run inside [-- --only PATTERN] [--json]`: what the inside of a sandbox has to carry (files, services, checkpoints, the store), in its long forms, on
 * real machines with real services, as one table. The exit code is 1 when something did not hold.
 */

import { join } from 'node:path'
import { testPlatform } from '../kit/platform.ts'
import { prove } from '../kit/proofs.ts'
import { serviceSettings } from '../kit/service-image.ts'
import { containers } from './containers.ts'
import { files } from './files.ts'
import type { Proof } from './proof.ts'
import { services } from './services.ts'
import { store } from './store.ts'
import { watch } from './watch.ts'

const proofs: readonly Proof[] = [...services, ...files, watch, ...store, containers]

await prove(proofs, async (say, owned) => {
  say('images …')
  const test = await testPlatform({
    runnerSettings: [await serviceSettings()],
    // The real one, with a door to end an object where it stands.
    worker: join(import.meta.dirname, '..', 'chaos', 'worker', 'worker.ts'),
  })
  return { test: owned.use(test), say }
})
