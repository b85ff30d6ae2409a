/** The two surfaces of Iris as a client without an SDK sees them: the gateway by method, and a sandbox's own host by path. */

import { exports } from 'cloudflare:workers'
import type { IrisSandbox, IrisSandboxWithToken } from '@portico/shared/api'
import { expect } from 'vitest'

const worker = (exports as unknown as { default: Fetcher }).default
/** Where the front door stands in these tests. */
const gateway = 'http://localhost:8787/iris.public.v1.SandboxService'

export interface IrisAsk {
  readonly key?: string
  readonly headers?: Record<string, string>
  readonly method?: string
  /** In place of the message. */
  readonly body?: string
}

/** One call of the gateway. */
export function callGateway(
  method: string,
  message: object,
  { key, headers = {}, ...more }: IrisAsk,
): Promise<Response> {
  const sent = new Headers({ 'content-type': 'application/json', ...headers })
  if (key !== undefined) sent.set('authorization', `Bearer ${key}`)
  const verb = more.method ?? 'POST'
  return worker.fetch(`${gateway}/${method}`, {
    method: verb,
    headers: sent,
    ...(verb === 'GET' || verb === 'HEAD' ? {} : { body: more.body ?? JSON.stringify(message) }),
  })
}

/** The answer of a call that succeeds. */
export async function gatewayAnswer<Answer>(method: string, message: object, key: string): Promise<Answer> {
  const response = await callGateway(method, message, { key, headers: { 'connect-protocol-version': '1' } })
  const text = await response.text()
  expect(response.status, text).toBe(200)
  expect(response.headers.get('content-type')).toBe('application/json')
  return JSON.parse(text) as Answer
}

/** What a refused call is told, having checked that it is told nothing more. */
export async function gatewayRefusal(response: Response): Promise<{ status: number; code: string; message: string }> {
  const text = await response.text()
  expect(response.status, text).toBeGreaterThanOrEqual(400)
  const body = JSON.parse(text) as { code: string; message: string }
  expect(Object.keys(body).toSorted()).toEqual(['code', 'message'])
  expect(response.headers.get('x-request-id')).toMatch(/^req/)
  return { status: response.status, ...body }
}

export const newIris = (key: string, message: object = {}) =>
  gatewayAnswer<IrisSandboxWithToken>('CreateSandbox', message, key)

export interface InsideAsk {
  readonly token?: string
  readonly method?: string
  readonly json?: unknown
  readonly body?: BodyInit
  readonly headers?: Record<string, string>
}

/** One request to a sandbox's own host. */
export function inside(
  { domain }: Pick<IrisSandbox, 'domain'>,
  path: string,
  asked: InsideAsk = {},
): Promise<Response> {
  const headers = new Headers(asked.headers)
  if (asked.token !== undefined) headers.set('authorization', `Bearer ${asked.token}`)
  if (asked.json !== undefined) headers.set('content-type', 'application/json')
  const body = asked.json === undefined ? asked.body : JSON.stringify(asked.json)
  return worker.fetch(`http://${domain}${path}`, {
    method: asked.method ?? (body === undefined ? 'GET' : 'POST'),
    headers,
    ...(body === undefined ? {} : { body }),
  })
}
