/**
 * `npm run images [-- --only PATTERN] [--json]`: what images and the iii surface have to carry, in its long forms: a large pull, the second sandbox of an image,
 * a client that is silent, busy, or cut off. As one table; the exit code is 1 when something did not hold.
 */

import { Console } from 'node:console'
import { IiiCalls, type IiiModule, iiiAddress, iiiPart } from '../conformance/iii-client.ts'
import { imagePlatform } from '../kit/image-platform.ts'
import { prove } from '../kit/proofs.ts'
import { Relay } from '../kit/relay.ts'
import { client } from './client.ts'
import type { Proof } from './proof.ts'
import { pulls } from './pulls.ts'

const proofs: readonly Proof[] = [...client, ...pulls]

// The client talks about its connections there; standard output is the table's.
globalThis.console = new Console(process.stderr)

await prove(proofs, async (say, owned) => {
  const { test, registry } = owned.use(await imagePlatform())
  const relay = owned.use(new Relay())
  const port = await relay.open(Number(new URL(test.platform.url).port))
  const { registerWorker } = await iiiPart<IiiModule>('index')
  const iii = registerWorker(iiiAddress(`http://127.0.0.1:${port}`, test.platform.apiKey))
  owned.defer(() => iii.shutdown())
  return { test, say, registry, relay, calls: new IiiCalls(iii) }
})
