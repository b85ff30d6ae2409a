/**
 * `npm run streams [-- --only PATTERN] [--json]`: the long forms of what streams have to carry, by real clients and real machines, as one table. The exit
 * code is 1 when something did not hold.
 */

import { testPlatform } from '../kit/platform.ts'
import { prove } from '../kit/proofs.ts'
import { Relay } from '../kit/relay.ts'
import { curl } from './curl.ts'
import { echo } from './echo.ts'
import { idle } from './idle.ts'
import { many } from './many.ts'
import type { Proof } from './proof.ts'
import { pythonServer } from './python-server.ts'
import { slowReader } from './slow-reader.ts'
import { vite } from './vite.ts'

const proofs: readonly Proof[] = [...curl, echo, pythonServer, vite, ...slowReader, many, idle]

await prove(proofs, async (say, owned) => {
  const relay = owned.use(new Relay())
  const test = owned.use(await testPlatform({ tunnelPort: (frontDoor) => relay.open(frontDoor) }))
  return { test, relay, say }
})
