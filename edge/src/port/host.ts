/**
 * Which host a request came to: the API's, one that leads to a port of a sandbox, or a sandbox's own. Read off the request's URL alone, once, before anything
 * else looks at it: an app's host never serves the API, and the other way round.
 *
 *   {port}-{id}.{APP host}/path        {id}.{SANDBOX host}/sb/p/{port}/path        {id}.{SANDBOX host}/path: the sandbox's own        any other host: the API
 */

import { parseSandboxId } from '@portico/shared/ids'
import type { Env } from '../env.ts'

/** One port of one sandbox, as a URL names it. */
export interface PortTarget {
  readonly sandbox: string
  readonly port: number
  /** What stands before the app's own path on this host; empty where the host is the app's alone. */
  readonly prefix: string
  /** Path and query on the app, as the caller wrote them. */
  readonly path: string
}

export type Place =
  | { readonly kind: 'api' }
  | { readonly kind: 'port'; readonly target: PortTarget }
  /** The sandbox's own host: its data plane. */
  | { readonly kind: 'sandbox'; readonly sandbox: string }
  /** A host of ours that leads nowhere, or a URL that no client of good will sends. */
  | { readonly kind: 'nowhere' }

/** Names and addresses; no user, no escapes, nothing that two readers could read differently. */
const urlForm = /^https?:\/\/([\w.-]+|\[[\da-f:.]+\])(?::\d{1,5})?(?=[/?]|$)/i
const appLabel = /^(\d{1,5})-([a-z0-9]{29})$/
const api: Place = { kind: 'api' }
const nowhere: Place = { kind: 'nowhere' }

/** Where a request's URL leads. */
export function placeOf(url: string, env: Pick<Env, 'APP_URL' | 'SANDBOX_URL'>): Place {
  const found = urlForm.exec(url)
  const name = found?.[1]
  if (found === null || name === undefined) return nowhere
  const host = plain(name)
  const under = (base: string | undefined) => (base ? labelUnder(host, hostOf(base)) : undefined)
  const app = under(env.APP_URL)
  if (app !== undefined) return ofApp(app, pathOf(url, found[0].length))
  const sandbox = under(env.SANDBOX_URL)
  if (sandbox !== undefined) return ofSandbox(sandbox, pathOf(url, found[0].length))
  return api
}

/** The number, or undefined if the text is not exactly a port. */
export function parsePort(text: string): number | undefined {
  const port = /^[1-9]\d{0,4}$/.test(text) ? Number(text) : 0
  return port >= 1 && port <= 65_535 ? port : undefined
}

/** Lower case, without the dot that ends a full name. */
function plain(name: string): string {
  const host = name.toLowerCase()
  return host.endsWith('.') ? host.slice(0, -1) : host
}

const hosts = new Map<string, string>()

/** The host that a variable names. */
function hostOf(base: string): string {
  let host = hosts.get(base)
  if (host === undefined) {
    host = new URL(base).hostname.toLowerCase()
    hosts.set(base, host)
  }
  return host
}

/** What stands before the base; empty for the base itself, undefined for a host that is not of it. */
function labelUnder(host: string, base: string): string | undefined {
  if (host === base) return ''
  return host.endsWith(`.${base}`) ? host.slice(0, -base.length - 1) : undefined
}

function pathOf(url: string, from: number): string {
  const path = url.slice(from).split('#', 1)[0] ?? ''
  return path.startsWith('/') ? path : `/${path}`
}

function ofApp(label: string, path: string): Place {
  const [, number = '', id = ''] = appLabel.exec(label) ?? []
  return target(number, id, '', path)
}

function ofSandbox(label: string, path: string): Place {
  if (!path.startsWith('/sb/p/')) {
    const sandbox = parseSandboxId(label)
    return sandbox === undefined ? nowhere : { kind: 'sandbox', sandbox }
  }
  const [, number = '', rest = ''] = /^\/sb\/p\/(\d{1,5})(?=[/?]|$)(.*)$/s.exec(path) ?? []
  return target(number, label, `/sb/p/${number}`, rest.startsWith('/') ? rest : `/${rest}`)
}

function target(number: string, id: string, prefix: string, path: string): Place {
  const port = parsePort(number)
  const sandbox = parseSandboxId(id)
  if (port === undefined || sandbox === undefined) return nowhere
  return { kind: 'port', target: { sandbox, port, prefix, path } }
}
