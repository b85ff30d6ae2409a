/** `/v1/runs/{id}/ports…` and `/v1/runs/{id}/proxy/…`: servers in a sandbox, who may reach them, and the way to them with a key. */

import type { PortLink, PortList, PortRecord, PortRequest, portLinkRequest } from '@portico/shared/api'
import { AppError } from '@portico/shared/errors'
import { z } from 'zod'
import { noteCall } from '../audit/calls.ts'
import type { Call, KeyCall } from '../call.ts'
import { signingSecret } from '../env.ts'
import { callGuest } from '../guest/call-guest.ts'
import { unwrap } from '../outcome.ts'
import { reach } from '../platform-errors.ts'
import { portUrl, proxyPrefix } from '../port/addresses.ts'
import { parsePort } from '../port/host.ts'
import { linkQuery, signLink } from '../port/links.ts'
import { settingOf } from '../port/routes.ts'
import { sendToPort } from '../port/send.ts'
import type { PortRoute, PortSetting } from '../ports.ts'
import { notFound } from '../sandbox/life.ts'
import { sandboxOf } from './runs.ts'

const listingMs = 30_000
/** What the agent says of sockets that listen. It is hostile until it has passed this. */
const listeners = z.object({
  ports: z
    .array(
      z.object({
        port: z.int().min(1).max(65_535),
        address: z.string().max(64),
        pid: z.int().nullish(),
        command: z.string().max(4096).nullish(),
      }),
    )
    .max(65_536),
})
type Listener = z.infer<typeof listeners>['ports'][number]

/** `GET /v1/runs/{id}/ports` */
export async function listPorts(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const [settings, found] = await Promise.all([settingsOf(call), listening(call, id)])
  const byPort = new Map<number, Listener>()
  for (const one of found) if (!byPort.has(one.port)) byPort.set(one.port, one)
  const numbers = new Set([...byPort.keys(), ...Object.keys(settings).map(Number)])
  const ports = [...numbers]
    .toSorted((a, b) => a - b)
    .map((port) => recordOf(call, id, port, settingOf({ settings }, port), byPort.get(port) ?? null))
  return Response.json({ ports } satisfies PortList)
}

/** `GET /v1/runs/{id}/ports/{port}` */
export async function readPort(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const port = portOf(call)
  const settings = await settingsOf(call)
  return Response.json(recordOf(call, id, port, settingOf({ settings }, port)))
}

/** `PUT /v1/runs/{id}/ports/{port}` */
export async function writePort(call: Call<'key', PortRequest>): Promise<Response> {
  const { id, sandbox } = sandboxOf(call)
  const port = portOf(call)
  const setting = unwrap(await reach('set the port', sandbox.setPort(call.principal, port, call.body)))
  call.services.ports.drop(id)
  return Response.json(recordOf(call, id, port, setting))
}

/** `POST /v1/runs/{id}/ports/{port}/links` */
export async function linkPort(call: Call<'key', z.output<typeof portLinkRequest>>): Promise<Response> {
  const { id } = sandboxOf(call)
  const port = portOf(call)
  const base = portUrl(call.env, call.url, id, port)
  if (base === undefined) throw new AppError('unsupported', 'cannot make a link: this platform serves no public URLs')
  const { path = '/', expires_in } = call.body
  const settings = await settingsOf(call)
  const { version } = settingOf({ settings }, port)
  const expires = Math.floor(call.services.clock.now() / 1000) + expires_in
  const signature = await signLink({ sandbox: id, port, version }, expires, signingSecret(call.env))
  const url = new URL(base + path)
  if (url.host !== new URL(base).host)
    throw new AppError('invalid_path', 'cannot make a link: its path leads elsewhere')
  url.search += `${url.search === '' ? '?' : '&'}${linkQuery({ expires, signature })}`
  const expires_at = new Date(expires * 1000).toISOString()
  noteCall(call, id, 'port.linked', { port, expires_at })
  return Response.json({ url: url.href, expires_at } satisfies PortLink, { status: 201 })
}

/** `/v1/runs/{id}/proxy/{port}/path`, any method. A browser gives what comes from there no origin, so it is none of the API's. */
export async function proxyPort(call: KeyCall): Promise<Response> {
  const { id } = sandboxOf(call)
  const port = portOf(call)
  const { env, objects, principal, request, requestId, services } = call
  if (request.headers.get('service-worker') !== null) {
    throw new AppError('forbidden', 'cannot serve a service worker here: it would be of the API itself')
  }
  const allow = ({ account, region }: PortRoute) => {
    if (account !== principal.account || region !== principal.region) throw notFound()
  }
  const first = await services.ports.find(objects, id).catch((thrown) => tellOwner(call, thrown))
  allow(first.route)
  const visit = { request, env, objects, services, requestId, sandbox: id, port }
  const path = pathUnder(request.url)
  const prefix = proxyPrefix(id, port)
  const sent = { ...visit, path, prefix, sandboxed: true, hidesAuthorization: true }
  const response = await sendToPort(sent, first, allow)
  const { status, statusText, webSocket, headers } = response
  if (status === 101) return new Response(null, { status, webSocket, headers })
  return new Response(response.body, { status, statusText, headers: new Headers(headers) })
}

/** Why a sandbox cannot be used is told to its owner alone: to anybody else there is none. */
async function tellOwner(call: KeyCall, thrown: unknown): Promise<never> {
  unwrap(await reach('find the sandbox', sandboxOf(call).sandbox.route(call.principal)))
  throw thrown
}

async function settingsOf(call: KeyCall): Promise<Readonly<Record<number, PortSetting>>> {
  const { sandbox } = sandboxOf(call)
  return unwrap(await reach('read the ports', sandbox.portSettings(call.principal)))
}

async function listening(call: KeyCall, sandbox: string): Promise<readonly Listener[]> {
  const answer = await callGuest(call, sandbox, { method: 'GET', path: '/ports', waitMs: listingMs })
  const parsed = listeners.safeParse(await answer.json().catch(() => undefined))
  if (!parsed.success) throw new AppError('guest_error', 'cannot list the ports: the sandbox answered nonsense')
  return parsed.data.ports
}

function portOf(call: Call): number {
  const port = parsePort(call.parameter('port'))
  if (port === undefined) throw new AppError('invalid_request', 'cannot use the port: ports are 1 to 65535')
  return port
}

/** `found` is null where it was looked for in vain. */
function recordOf(
  call: KeyCall,
  sandbox: string,
  port: number,
  setting: PortSetting,
  found?: Listener | null,
): PortRecord {
  const url = portUrl(call.env, call.url, sandbox, port)
  const { access, host } = setting
  const { address, pid, command } = found ?? {}
  return {
    port,
    access,
    host,
    ...(url === undefined ? {} : { url }),
    proxy_url: `${call.url.origin}${proxyPrefix(sandbox, port)}`,
    ...(found === undefined ? {} : { listening: found !== null }),
    ...(address === undefined ? {} : { address }),
    ...(pid == null ? {} : { pid }),
    ...(command == null ? {} : { command }),
  }
}

/** What follows the port, as the caller wrote it. */
function pathUnder(url: string): string {
  const [, rest = ''] = /^https?:\/\/[^/]+(?:\/+[^/?#]*){5}([^#]*)/.exec(url) ?? []
  return rest.startsWith('/') ? rest : `/${rest}`
}
