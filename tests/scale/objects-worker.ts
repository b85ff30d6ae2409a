/** The Worker with one more way in: it calls the objects as the front door does, so many times and so many at once, and says how long that took. */

import { objectsOf } from '../../edge/src/durable/objects.ts'
import type { Env } from '../../edge/src/env.ts'
import { operations } from './objects-operations.ts'

export { AccountObject } from '../../edge/src/durable/account.ts'
export { ConsoleObject } from '../../edge/src/durable/console.ts'
export { DirectoryObject } from '../../edge/src/durable/directory.ts'
export { IiiObject } from '../../edge/src/durable/iii.ts'
export { IiiChannelObject } from '../../edge/src/durable/iii-channel.ts'
export { ImageObject } from '../../edge/src/durable/image.ts'
export { KeyringObject } from '../../edge/src/durable/keyring.ts'
export { RegionObject } from '../../edge/src/durable/region.ts'
export { RunnerObject } from '../../edge/src/durable/runner.ts'
export { SandboxObject } from '../../edge/src/durable/sandbox.ts'

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const { pathname, searchParams } = new URL(request.url)
    const operation = operations[pathname.slice(1)]
    if (operation === undefined) return new Response('no such operation', { status: 404 })
    const [from = 0, calls = 1, atOnce = 1] = ['from', 'calls', 'atOnce'].map((name) =>
      Number(searchParams.get(name) ?? 1),
    )
    const objects = objectsOf(env)
    let next = from
    const work = async () => {
      while (next < from + calls) await operation(objects, next++)
    }
    const start = Date.now()
    await Promise.all(Array.from({ length: atOnce }, work))
    return Response.json({ ms: Date.now() - start })
  },
}
