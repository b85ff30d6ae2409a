/** A caller of the front door in tests: through the Worker's own entry, in the real runtime. */

import { exports } from 'cloudflare:workers'
import type { ErrorBody } from '@portico/shared/api'
import { expect } from 'vitest'

export const adminKey = 'the-admin-key-of-the-tests-alone'

export interface Ask {
  readonly method?: string
  readonly key?: string
  readonly json?: unknown
  readonly body?: BodyInit
  readonly headers?: Record<string, string>
  readonly signal?: AbortSignal
  readonly redirect?: 'manual'
}

const worker = (exports as unknown as { default: Fetcher }).default

/** One request. */
export function ask(
  path: string,
  { method, key, json, body, headers = {}, signal, redirect }: Ask = {},
): Promise<Response> {
  const sent = new Headers(headers)
  if (key !== undefined) sent.set('authorization', `Bearer ${key}`)
  if (json !== undefined) sent.set('content-type', 'application/json')
  const content = json === undefined ? body : JSON.stringify(json)
  return worker.fetch(`http://portico.test${path}`, {
    method: method ?? (content === undefined ? 'GET' : 'POST'),
    headers: sent,
    ...(content === undefined ? {} : { body: content }),
    ...(signal === undefined ? {} : { signal }),
    ...(redirect === undefined ? {} : { redirect }),
  })
}

/** The answer's JSON. */
export async function answer<Answer = Record<string, unknown>>(path: string, request: Ask = {}): Promise<Answer> {
  const response = await ask(path, request)
  const text = await response.text()
  expect(response.status, text).toBeLessThan(300)
  return JSON.parse(text) as Answer
}

/** The error's body with its status, having checked what holds for every error: one line, an id, no stack. */
export async function refusal(path: string, request: Ask = {}): Promise<ErrorBody & { status: number }> {
  return read(await ask(path, request))
}

/** The same, for a response that is already here. */
export async function read(response: Response): Promise<ErrorBody & { status: number }> {
  const text = await response.text()
  expect(response.status, text).toBeGreaterThanOrEqual(400)
  const body = JSON.parse(text) as ErrorBody
  expect(body.request_id).toBe(response.headers.get('x-request-id'))
  expect(body.error).not.toMatch(/\n|\.ts\b|\bat .*:\d+/)
  return { ...body, status: response.status }
}

export interface Tenant {
  readonly account: string
  readonly key: string
}

/** A new account with a key of the region. */
export async function newTenant(region = 'local'): Promise<Tenant> {
  const { id } = await answer<{ id: string }>('/admin/accounts', { key: adminKey, json: { name: 'a tenant' } })
  const { key } = await answer<{ key: string }>(`/admin/accounts/${id}/keys`, { key: adminKey, json: { region } })
  return { account: id, key }
}
