/** Where sandboxes' calls go, as this isolate last heard it. An entry is trusted for 10 s, or until a runner says that it is wrong. */

import type { Clock } from '@portico/shared/clock'
import { ShortCache } from '../auth/short-cache.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { Caller, Objects, Route } from '../ports.ts'

const trustedMs = 10_000

export class RouteCache {
  readonly #routes: ShortCache<Route>

  constructor(clock: Clock) {
    this.#routes = new ShortCache(clock, trustedMs)
  }

  /** The route, from memory if it may be. A route of somebody else's sandbox is never answered from memory. */
  async find(objects: Objects, caller: Caller, sandbox: string): Promise<{ route: Route; fresh: boolean }> {
    const known = this.#routes.get(sandbox)
    if (known !== undefined && known.account === caller.account && known.region === caller.region) {
      return { route: known, fresh: false }
    }
    const route = unwrap(await reach('find the sandbox', objects.sandbox(sandbox).route(caller)))
    this.#routes.set(sandbox, route)
    return { route, fresh: true }
  }

  drop(sandbox: string): void {
    this.#routes.delete(sandbox)
  }
}
