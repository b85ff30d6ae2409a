/** Where sandboxes' ports are and who may reach them, as this isolate last heard it. Trusted for 10 s, until a runner says that it is wrong, or until it is changed here. */

import type { Clock } from '@portico/shared/clock'
import { ShortCache } from '../auth/short-cache.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Objects, PortRoute, PortSetting } from '../ports.ts'

const trustedMs = 10_000

export class PortRoutes {
  readonly #routes: ShortCache<PortRoute>

  constructor(clock: Clock) {
    this.#routes = new ShortCache(clock, trustedMs)
  }

  /** The route, from memory if it may be. Whose it is, the caller looks at. */
  async find(objects: Objects, sandbox: string): Promise<{ route: PortRoute; fresh: boolean }> {
    const known = this.#routes.get(sandbox)
    if (known !== undefined) return { route: known, fresh: false }
    const route = unwrap(await reach('find the port', objects.sandbox(sandbox).portRoute()))
    this.#routes.set(sandbox, route)
    return { route, fresh: true }
  }

  drop(sandbox: string): void {
    this.#routes.delete(sandbox)
  }
}

/** A port that was never set: open to whoever knows its URL. */
export const unset: PortSetting = { access: 'url', host: 'public', version: 0 }

/** What holds for a port. */
export function settingOf({ settings }: Pick<PortRoute, 'settings'>, port: number): PortSetting {
  return settings[port] ?? unset
}
