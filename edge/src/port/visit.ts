/**
 * One request to an app's host: who may pass by the port's setting, the app's answer, and the page in its place where there is none. The API is
 * not served here, whatever is sent.
 */

import { AppError } from '@portico/shared/errors'
import { newRequestId } from '@portico/shared/ids'
import { assertScope } from '../auth/scopes.ts'
import { drop } from '../body.ts'
import type { Services } from '../call.ts'
import { objectsOf } from '../durable/objects.ts'
import { acceptedSecrets, type Env, regionsServed } from '../env.ts'
import { logFailure } from '../log.ts'
import type { Objects, PortRoute } from '../ports.ts'
import { nothingHere, portErrorResponse } from './errors.ts'
import type { PortTarget } from './host.ts'
import { cookieLinks, isGood, linkCookie, type Shown, takeLink } from './links.ts'
import { settingOf } from './routes.ts'
import { sendToPort } from './send.ts'

/** The answer for a request that came to a host of ours which is not the API's; without a target it leads nowhere. */
export async function visitPort(
  request: Request,
  env: Env,
  services: Services,
  target: PortTarget | undefined,
): Promise<Response> {
  const requestId = newRequestId()
  try {
    if (target === undefined) throw nothingHere()
    return await answered(request, env, services, target, requestId)
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code === 'internal') logFailure(`request ${requestId}`, error)
    if (request.body !== null && !request.body.locked && request.headers.get('expect') === null)
      await drop(request.body)
    return portErrorResponse(error, request, requestId)
  }
}

async function answered(
  request: Request,
  env: Env,
  services: Services,
  { sandbox, port, prefix, path: asked }: PortTarget,
  requestId: string,
): Promise<Response> {
  const objects = objectsOf(env)
  const { path, shown } = takeLink(asked)
  const visitor: Visitor = { request, env, services, objects, sandbox, port, shown }
  const first = await services.ports.find(objects, sandbox)
  const entry = await admit(visitor, first.route)
  const hidesAuthorization = entry === 'key'
  const visit = {
    request,
    env,
    objects,
    services,
    requestId,
    sandbox,
    port,
    path,
    prefix,
    sandboxed: false,
    hidesAuthorization,
  }
  const response = await sendToPort(visit, first, (route) => admit(visitor, route))
  if (entry !== 'link' || !shown) return response
  const cookie = linkCookie(port, prefix, shown, request.url.startsWith('https:'), services.clock.now())
  return withCookie(response, cookie)
}

interface Visitor {
  readonly request: Request
  readonly env: Env
  readonly services: Services
  readonly objects: Objects
  readonly sandbox: string
  readonly port: number
  readonly shown: Shown | null | undefined
}

/** How the visitor came in, by the port's setting; throws where it may not. */
async function admit(visitor: Visitor, route: PortRoute): Promise<'url' | 'link' | 'cookie' | 'key'> {
  const { env, port, request, sandbox, services, shown } = visitor
  if (!regionsServed(env).includes(route.region)) throw nothingHere()
  const { access, version } = settingOf(route, port)
  if (access === 'url') return 'url'
  const of = { sandbox, port, version }
  const good = (one: Shown) => isGood(of, one, services.clock.now(), acceptedSecrets(env))
  if (shown && (await good(shown))) return 'link'
  const cookies = cookieLinks(request.headers.get('cookie'), port)
  for (const one of cookies) if (await good(one)) return 'cookie'
  const isLinkWrong = shown !== undefined || cookies.length > 0
  if (access === 'key' && request.headers.get('authorization') !== null) return await admitKey(visitor, route)
  const code = isLinkWrong ? 'forbidden' : 'unauthorized'
  throw new AppError(code, `cannot open the port: it needs a ${access === 'key' ? 'key' : 'signed link'}`)
}

/** A key of the sandbox's account and region, which may use sandboxes. */
async function admitKey({ env, objects, request, services }: Visitor, route: PortRoute): Promise<'key'> {
  const { caller, requestsPerSecond, scope } = await services.gate.key(request, env, objects)
  if (caller.account !== route.account || caller.region !== route.region) {
    throw new AppError('forbidden', 'cannot open the port: the key is of another account or region')
  }
  await services.requests.take(objects, caller.account, requestsPerSecond)
  assertScope(scope, 'use')
  return 'key'
}

/** The response with one more cookie. What came from the object cannot be changed itself. */
function withCookie(response: Response, cookie: string): Response {
  const { status, statusText, webSocket } = response
  const headers = new Headers(response.headers)
  headers.append('set-cookie', cookie)
  if (status === 101) return new Response(null, { status, webSocket, headers })
  return new Response(response.body, { status, statusText, headers })
}
