/**
 * The URLs of ports as records show them. Scheme and host are the deployment's; where it names no port and a caller came in by the same
 * scheme, the port is the one that the caller came to: the local platform listens on any free one.
 */

import type { RunRecord } from '@portico/shared/api'
import type { Env } from '../env.ts'

/** Where the ports of sandboxes are served, as the caller would reach them; undefined where they are not. */
function appBase(env: Pick<Env, 'APP_URL'>, asked: URL): { scheme: string; host: string } | undefined {
  return baseOf(env.APP_URL, asked)
}

/** The host of a sandbox's own, with the port where that is not the scheme's; undefined where there is none. */
export function sandboxHost(env: Pick<Env, 'SANDBOX_URL'>, asked: URL, sandbox: string): string | undefined {
  const base = baseOf(env.SANDBOX_URL, asked)
  return base === undefined ? undefined : `${sandbox}.${base.host}`
}

function baseOf(text: unknown, asked: URL): { scheme: string; host: string } | undefined {
  if (typeof text !== 'string' || text === '') return undefined
  const base = new URL(text)
  const port = base.port === '' && base.protocol === asked.protocol ? asked.port : base.port
  return { scheme: base.protocol, host: port === '' ? base.hostname : `${base.hostname}:${port}` }
}

/** The URL of a sandbox's ports with `{port}` where the number goes. */
export function urlTemplate(env: Pick<Env, 'APP_URL'>, asked: URL, sandbox: string): string | undefined {
  const base = appBase(env, asked)
  return base === undefined ? undefined : `${base.scheme}//{port}-${sandbox}.${base.host}`
}

/** The URL of one port, without a path. */
export function portUrl(env: Pick<Env, 'APP_URL'>, asked: URL, sandbox: string, port: number): string | undefined {
  return urlTemplate(env, asked, sandbox)?.replace('{port}', String(port))
}

/** What stands before the app's path where it is behind an API key. */
export function proxyPrefix(sandbox: string, port: number): string {
  return `/v1/runs/${sandbox}/proxy/${port}`
}

/** A record as a caller gets it: with the URL of its ports, which depends on how the caller came in. */
export function addressed(record: RunRecord, { env, url }: { readonly env: Env; readonly url: URL }): RunRecord {
  const template = urlTemplate(env, url, record.id)
  return template === undefined ? record : { ...record, url_template: template }
}
