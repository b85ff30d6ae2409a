/**
 * The real Worker with two doors added, for the admin key: `POST /chaos/evict/{binding}/{name}` ends that object in the middle of whatever it does, as the
 * platform may at any time: what it has stored stays, what it held in memory and its sockets go. `GET /chaos/promises/REGIONS/{region}` tells for how many
 * sandboxes the region keeps room that no runner reports.
 */

import type { Env } from '../../../edge/src/env.ts'
import worker, * as real from '../../../edge/src/worker.ts'

const why = 'evicted by the chaos run'

export class AccountObject extends real.AccountObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class ConsoleObject extends real.ConsoleObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class DirectoryObject extends real.DirectoryObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class IiiObject extends real.IiiObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class IiiChannelObject extends real.IiiChannelObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class ImageObject extends real.ImageObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class KeyringObject extends real.KeyringObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class RegionObject extends real.RegionObject {
  promises(): number {
    return this.ctx.storage.sql.exec<{ count: number }>('SELECT COUNT(*) AS count FROM reservations').one().count
  }

  evict(): void {
    this.ctx.abort(why)
  }
}

export class RunnerObject extends real.RunnerObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

export class SandboxObject extends real.SandboxObject {
  evict(): void {
    this.ctx.abort(why)
  }
}

const bindings = ['ACCOUNTS', 'DIRECTORY', 'REGIONS', 'RUNNERS', 'SANDBOXES'] as const

interface Added {
  evict(): Promise<void>
  promises(): Promise<number>
}

export default {
  async fetch(request: Request, env: Env, context: ExecutionContext): Promise<Response> {
    const [, chaos, what, binding, name] = new URL(request.url).pathname.split('/')
    if (chaos !== 'chaos') return await worker.fetch(request, env, context)
    const known = bindings.find((one) => one === binding)
    if (request.headers.get('authorization') !== `Bearer ${env.ADMIN_KEY}` || known === undefined || !name)
      return new Response('no', { status: 403 })
    const object = env[known].get(env[known].idFromName(name)) as unknown as Added
    if (what === 'promises') return Response.json({ promises: await object.promises() })
    await object.evict().catch(() => undefined)
    return new Response('gone')
  },
}
