/** Runners: enrolment, list, drain and removal for the operator, and the tunnel itself. */

import { AppError } from '@portico/shared/errors'
import { newRunnerId, parseRunnerId } from '@portico/shared/ids'
import { formatToken } from '../auth/tokens.ts'
import type { Call } from '../call.ts'
import { runnerFetcher } from '../durable/objects.ts'
import { regionsServed } from '../env.ts'
import { readAnswer, tunnelRequest } from '../guest/wire.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import type { RegionPort, RunnerInfo } from '../ports.ts'
import { readDial } from '../tunnel/dial.ts'
import { assertServed, timestamp } from './accounts.ts'
import type { DrainRequest, RunnerRequest } from './admin-requests.ts'

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

/** `GET /admin/runners/{id}` */
export async function readRunner(call: Call<'admin'>): Promise<Response> {
  return Response.json((await runnerOf(call)).info)
}

/** `POST /admin/runners/{id}/drain` */
export async function drainRunner(call: Call<'admin', DrainRequest>): Promise<Response> {
  const { region, info } = await runnerOf(call)
  return Response.json(unwrap(await reach('drain the runner', region.drain(info.id, call.body.mode))))
}

/** `POST /admin/runners/{id}/undrain` */
export async function undrainRunner(call: Call<'admin'>): Promise<Response> {
  const { region, info } = await runnerOf(call)
  return Response.json(unwrap(await reach('undrain the runner', region.undrain(info.id))))
}

/** `DELETE /admin/runners/{id}?lost=true` */
export async function removeRunner(call: Call<'admin'>): Promise<Response> {
  const { region, info } = await runnerOf(call)
  const lost = call.url.searchParams.get('lost') === 'true'
  const count = unwrap(await reach('remove the runner', region.remove(info.id, lost)))
  return Response.json({ id: info.id, status: 'removed', lost_sandboxes: count })
}

/** `GET /v1/runner/tunnel`: a WebSocket of the stream protocol. */
export async function tunnel({ env, principal, request }: Call<'runner'>): Promise<Response> {
  if (request.headers.get('upgrade')?.toLowerCase() !== 'websocket') {
    throw new AppError('invalid_request', 'cannot open the tunnel: send a WebSocket upgrade')
  }
  readDial(request.headers)
  const { runner, region } = principal
  const dialled = runnerFetcher(env, runner, region).fetch(tunnelRequest(request, principal))
  const response = await reach('open the tunnel', dialled)
  return response.status === 101 ? response : readAnswer(response)
}

/** The runner that a path names, wherever it is: the id does not say its region. */
async function runnerOf(call: Call<'admin'>): Promise<{ region: RegionPort; info: RunnerInfo }> {
  const id = parseRunnerId(call.parameter('id'))
  const regions = id === undefined ? [] : regionsServed(call.env).map((name) => call.objects.region(name))
  const found = await Promise.all(
    regions.map(async (region) => ({ region, info: await reach('find the runner', region.info(id ?? '')) })),
  )
  for (const { region, info } of found) {
    if (info === null) continue
    call.subject.runner = info.id
    call.subject.region = info.region
    return { region, info }
  }
  throw new AppError('not_found', 'cannot find the runner: there is none with this id')
}
