/** The way in: the host decides, once, whether a request is the API's, goes to a port of a sandbox, or to a sandbox's own host. What they remember they share. */

import { type Clock, systemClock } from '@portico/shared/clock'
import { buildApp, servicesOf } from './app.ts'
import type { Env } from './env.ts'
import { sandboxTable } from './iris/table.ts'
import { placeOf } from './port/host.ts'
import { visitPort } from './port/visit.ts'
import { table } from './routes/table.ts'

/** Builds the Worker's handler. */
export function buildFrontDoor(clock: Clock = systemClock) {
  const services = servicesOf(clock)
  const app = buildApp(table, clock, services)
  const inside = buildApp(sandboxTable, clock, services)
  return {
    fetch(request: Request, env: Env, context: ExecutionContext): Response | Promise<Response> {
      const place = placeOf(request.url, env)
      if (place.kind === 'api') return app.fetch(request, env, context)
      if (place.kind === 'sandbox') return inside.fetch(request, env, context)
      return visitPort(request, env, services, place.kind === 'port' ? place.target : undefined)
    },
  }
}
