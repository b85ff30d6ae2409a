/**
 * The HTTP surface: the rows of the table behind one way in. Per request: id, access, body, handler, answer. A body that was refused is
 * taken off the caller's hands before the answer, as many clients look for an answer only then.
 */

import { type Clock, systemClock } from '@portico/shared/clock'
import { AppError } from '@portico/shared/errors'
import { newRequestId } from '@portico/shared/ids'
import { type Context, Hono } from 'hono'
import { RequestLeases } from './account/request-lease.ts'
import { AuditMail } from './audit/mail.ts'
import { Gate } from './auth/gate.ts'
import { isLinkToken, type LinkScope } from './auth/link-tokens.ts'
import { assertScope } from './auth/scopes.ts'
import { ShortCache } from './auth/short-cache.ts'
import { drop } from './body.ts'
import type { Access, Call, Principals, Services, Subject } from './call.ts'
import { objectsOf } from './durable/objects.ts'
import type { Env } from './env.ts'
import { RouteCache } from './guest/route-cache.ts'
import { imagesKnownMs } from './image/region.ts'
import { connectErrorResponse } from './iris/connect-errors.ts'
import { assertConnect } from './iris/connect-request.ts'
import { TokenGate } from './iris/token-gate.ts'
import { TokenKeys } from './iris/token-keys.ts'
import { logFailure, logOperation } from './log.ts'
import { errorResponse, withRequestId } from './middleware/answer.ts'
import { readJson } from './middleware/json-body.ts'
import { Refusal } from './middleware/refusal.ts'
import { placeOf } from './port/host.ts'
import { PortRoutes } from './port/routes.ts'
import type { Scope } from './ports.ts'
import type { Row } from './routes/row.ts'
import { table } from './routes/table.ts'

type Bound = { Bindings: Env }

/** One request on its way through. */
interface Visit {
  readonly context: Context<Bound>
  readonly requestId: string
  readonly subject: Subject
}

type Handler = (visit: Visit) => Promise<Response>

/** What an isolate keeps between requests, measured by `clock`. */
export function servicesOf(clock: Clock): Services {
  const tokenKeys = new TokenKeys(clock)
  return {
    clock,
    gate: new Gate(clock),
    requests: new RequestLeases(clock),
    routes: new RouteCache(clock),
    ports: new PortRoutes(clock),
    mail: new AuditMail(clock),
    images: new ShortCache(clock, imagesKnownMs),
    policies: new ShortCache(clock, imagesKnownMs),
    tokenKeys,
    tokens: new TokenGate(clock, tokenKeys),
  }
}

/** Builds the app; what it remembers between requests is measured by `clock`. */
export function buildApp(
  rows: readonly Row[] = table,
  clock: Clock = systemClock,
  services: Services = servicesOf(clock),
): Hono<Bound> {
  const app = new Hono<Bound>()
  for (const row of rows) {
    const handler = answered((visit) => handle(row, visit, services), clock, row)
    app.on([...row.methods], row.path, handler)
  }
  const paths = methodsByPath(rows)
  app.notFound(answered((visit) => refuse(visit, paths), clock))
  return app
}

/** Runs a handler; whatever it throws becomes an answer. */
function answered(handler: Handler, clock: Clock, row?: Row): (context: Context<Bound>) => Promise<Response> {
  return async (context) => {
    const visit: Visit = { context, requestId: newRequestId(), subject: {} }
    const start = clock.now()
    const { response, code } = await settle(handler, visit, row)
    if (row?.logged || response.status >= 500) {
      const { requestId: request_id, subject } = visit
      const { method } = context.req
      const ms = clock.now() - start
      logOperation({ request_id, method, route: row?.path ?? '', status: response.status, ms, code, ...subject })
    }
    return withRequestId(response, visit.requestId)
  }
}

async function settle(handler: Handler, visit: Visit, row?: Row): Promise<{ response: Response; code?: string }> {
  try {
    return { response: await handler(visit) }
  } catch (thrown) {
    const error = AppError.from(thrown)
    if (error.code === 'internal') logFailure(`request ${visit.requestId}`, error)
    const { raw } = visit.context.req
    if (raw.body !== null && !raw.body.locked && raw.headers.get('expect') === null) await drop(raw.body)
    const response = row?.protocol === 'connect' ? connectErrorResponse(error) : errorResponse(error, visit.requestId)
    if (error instanceof Refusal)
      for (const [name, value] of Object.entries(error.headers)) response.headers.set(name, value)
    return { response, code: error.code }
  }
}

async function handle(row: Row, visit: Visit, services: Services): Promise<Response> {
  const { context, requestId, subject } = visit
  const request = context.req.raw
  const { env } = context
  const objects = objectsOf(env)
  if (row.protocol === 'connect') assertConnect(request)
  const { principal, scope, link, sandbox } = await enter(row, visit, objects, services)
  const body = row.body.kind === 'json' ? await readJson(request, row.body) : undefined
  const parameter = (name: string) => (name === 'id' ? sandbox : undefined) ?? context.req.param(name) ?? ''
  return row.handle({
    request,
    env,
    objects,
    services,
    requestId,
    get url() {
      return new URL(request.url)
    },
    principal,
    scope,
    ...(link === undefined ? {} : { link }),
    parameter,
    subject,
    body,
  })
}

interface Entered {
  readonly principal: Principals[Access]
  readonly scope: Scope | null
  readonly link?: LinkScope
  /** The sandbox whose host it came to. */
  readonly sandbox?: string
}

/** The one way in: who it is, how many requests its account may send, and what the key's scope allows. */
async function enter(
  { access, needs, token }: Row,
  { context, subject }: Visit,
  objects: Call['objects'],
  { gate, requests, tokens }: Services,
): Promise<Entered> {
  const { env } = context
  const request = context.req.raw
  switch (access) {
    case 'public':
      return { principal: null, scope: null }
    case 'key': {
      const told = token === 'path' ? context.req.param('key') : context.req.query('token')
      const given = token === undefined || request.headers.has('authorization') ? null : told
      if (token === 'link' && given != null && isLinkToken(given)) {
        const link = await gate.link(given, env)
        const caller = { account: link.account, region: link.region }
        Object.assign(subject, caller)
        return { principal: caller, scope: null, link }
      }
      const { caller, requestsPerSecond, scope } = await gate.key(request, env, objects, given ?? undefined)
      Object.assign(subject, caller)
      await requests.take(objects, caller.account, requestsPerSecond)
      assertScope(scope, needs ?? 'manage')
      return { principal: caller, scope }
    }
    case 'sandbox-token': {
      const place = placeOf(request.url, env)
      if (place.kind !== 'sandbox') throw new AppError('not_found', 'cannot find it: this is no host of a sandbox')
      const { caller, requestsPerSecond } = await tokens.enter(request, env, objects, place.sandbox)
      Object.assign(subject, caller)
      await requests.take(objects, caller.account, requestsPerSecond)
      return { principal: caller, scope: null, sandbox: place.sandbox }
    }
    case 'runner': {
      const caller = await gate.runner(request, env, objects)
      Object.assign(subject, caller)
      return { principal: caller, scope: null }
    }
    case 'admin':
      gate.admin(request, env)
      return { principal: null, scope: null }
  }
}

/** What no row takes: a path that none has, or a method that its rows do not have. */
async function refuse({ context }: Visit, paths: readonly Allowed[]): Promise<Response> {
  const { method, path } = context.req
  const allowed = paths.find((one) => one.pattern.test(path))
  if (allowed !== undefined) {
    const why = `cannot ${method} this path: it takes ${allowed.methods}`
    throw new Refusal('method_not_allowed', why, { headers: { allow: allowed.methods } })
  }
  throw new AppError('not_found', `cannot find ${path}: there is no such path`)
}

interface Allowed {
  readonly pattern: RegExp
  readonly methods: string
}

function methodsByPath(rows: readonly Row[]): Allowed[] {
  // A row that takes every method refuses none.
  const choosy = rows.filter(({ methods }) => !methods.includes('ALL'))
  const byPath = Map.groupBy(choosy, ({ path }) => path)
  return [...byPath].map(([path, same]) => ({
    pattern: new RegExp(`^${path.replaceAll(/:\w+/g, '[^/]+')}$`),
    methods: same
      .flatMap(({ methods }) => methods.flatMap((method) => (method === 'GET' ? ['GET', 'HEAD'] : [method])))
      .join(', '),
  }))
}
