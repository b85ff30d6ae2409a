/** Runners: enrolment and list for the operator, and the tunnel itself. */

import { AppError } from '@portico/shared/errors'
import { newRunnerId } from '@portico/shared/ids'
import { formatToken } from '../auth/tokens.ts'
import type { Call } from '../call.ts'
import { runnerFetcher } from '../durable/objects.ts'
import { regionsServed } from '../env.ts'
import { tunnelRequest } from '../guest/wire.ts'
import { reach } from '../platform-errors.ts'
import { assertServed, timestamp } from './accounts.ts'
import type { RunnerRequest } from './admin-requests.ts'

/** `POST /admin/runners` */
export async function createRunner(call: Call<'admin', RunnerRequest>): Promise<Response> {
  const { region, name } = call.body
  assertServed(region, call)
  const id = newRunnerId()
  call.subject.runner = id
  const { token, hash } = await call.services.gate.issue('runner', region, id, call.env)
  const at = timestamp(call.services.clock.now())
  await reach('enrol the runner', call.objects.region(region).addRunner(id, region, name, hash, at))
  return Response.json({ id, region, name, created_at: at, token: formatToken(token) }, { status: 201 })
}

/** `GET /admin/runners` */
export async function listRunners({ env, objects }: Call<'admin'>): Promise<Response> {
  const regions = regionsServed(env).map((region) => reach('list runners', objects.region(region).runners()))
  return Response.json({ runners: (await Promise.all(regions)).flat() })
}

/** `GET /v1/runner/tunnel`: a WebSocket of the stream protocol. */
export async function tunnel({ env, principal, request }: Call<'runner'>): Promise<Response> {
  if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') {
    throw new AppError('invalid_request', 'cannot open the tunnel: send a WebSocket upgrade')
  }
  return reach('open the tunnel', runnerFetcher(env, principal.runner).fetch(tunnelRequest(request, principal)))
}
