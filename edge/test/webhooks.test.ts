/** Webhooks through the API: made, shown, told of a sandbox's life by the account's own alarm, removed. */

import { evictDurableObject, runDurableObjectAlarm, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { DeliveryList, Webhook, WebhookMade } from '@portico/shared/api'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { signature } from '../src/webhook/attempt.ts'
import { answer, ask, newTenant, read, refusal } from './client.ts'
import { RunnerScene } from './runner-scene.ts'
import { someUsage } from './scripted-runner.ts'

const scene = new RunnerScene()
const url = 'https://receiver.test/hook?x=1'
const make = (json: object = { url }) => answer<WebhookMade>('/v1/webhooks', { key: scene.tenant.key, json })
const deliveries = async (id: string) =>
  (await answer<DeliveryList>(`/v1/webhooks/${id}/deliveries`, { key: scene.tenant.key })).deliveries
const account = () => env.ACCOUNTS.get(env.ACCOUNTS.idFromName(scene.tenant.account))

interface Told {
  readonly event: string
  readonly sandbox: { id: string; status: string; usage?: object }
}

let told: { headers: Headers; text: string; body: Told }[] = []
let status = 200

beforeEach(() => {
  told = []
  status = 200
  const real = globalThis.fetch
  vi.spyOn(globalThis, 'fetch').mockImplementation(async (input, init) => {
    if (String(input) !== url) return real(input, init)
    const text = String(init?.body)
    told.push({ headers: new Headers(init?.headers as HeadersInit), text, body: JSON.parse(text) as Told })
    return new Response('thanks', { status })
  })
})
afterEach(() => void vi.restoreAllMocks())

const events = (id: string) => told.filter(({ body }) => body.sandbox.id === id).map(({ body }) => body.event.slice(8))

describe('a webhook', () => {
  test('is made with a secret that is shown once, listed, read and removed', async () => {
    const { secret, ...shown } = await make({ url, events: ['sandbox.destroyed', 'sandbox.destroyed'] })
    expect(secret).toMatch(/^whsec_[a-z2-7]{32}$/)
    expect(shown).toMatchObject({ url, events: ['sandbox.destroyed'] })
    const { webhooks } = await answer<{ webhooks: Webhook[] }>('/v1/webhooks', { key: scene.tenant.key })
    expect(webhooks).toEqual([shown])
    expect(await answer(`/v1/webhooks/${shown.id}`, { key: scene.tenant.key })).toEqual(shown)
    await evictDurableObject(account())
    const gone = await ask(`/v1/webhooks/${shown.id}`, { method: 'DELETE', key: scene.tenant.key })
    expect(await gone.json()).toEqual({ id: shown.id, status: 'deleted' })
    expect(await refusal(`/v1/webhooks/${shown.id}`, { key: scene.tenant.key })).toMatchObject({ status: 404 })
  })

  test.each(['ftp://receiver.test/', 'https://user:word@receiver.test/', 'nothing', ''])(
    'cannot be at %j',
    async (place) => {
      const json = { url: place }
      expect(await refusal('/v1/webhooks', { key: scene.tenant.key, json })).toMatchObject({ code: 'invalid_request' })
    },
  )

  test('of somebody else is not there', async () => {
    const { id } = await make()
    const { key } = await newTenant()
    for (const path of [`/v1/webhooks/${id}`, `/v1/webhooks/${id}/deliveries`]) {
      expect(await refusal(path, { key })).toMatchObject({ status: 404, code: 'not_found' })
    }
    const removal = await ask(`/v1/webhooks/${id}`, { method: 'DELETE', key })
    expect(await read(removal)).toMatchObject({ status: 404, code: 'not_found' })
    expect(await answer(`/v1/webhooks/${id}`, { key: scene.tenant.key })).toMatchObject({ id })
  })

  test('beyond the tenth is refused', async () => {
    for (let count = 0; count < 10; count++) await make()
    const refused = await refusal('/v1/webhooks', { key: scene.tenant.key, json: { url } })
    expect(refused).toMatchObject({ status: 429, code: 'quota_exceeded' })
    expect(refused.error).toContain('webhooks = 10')
  })
})

describe('a sandbox', () => {
  test('is told of from its beginning to its end, in order, signed, and logged', async () => {
    const { id: hook, secret } = await make()
    await scene.connected()
    const { id } = await scene.created({ name: 'mine' })
    await scene.post(`${id}/hibernate`)
    await scene.post(`${id}/resume`)
    await ask(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    const whole = ['created', 'running', 'hibernated', 'resumed', 'destroyed']
    await expect.poll(() => events(id)).toEqual(whole)
    expect(told.map(({ body }) => body.sandbox.status)).toEqual([
      'creating',
      'running',
      'hibernated',
      'running',
      'destroyed',
    ])
    expect(told.at(-1)?.body.sandbox).toMatchObject({
      id,
      name: 'mine',
      usage: { ...someUsage, cost_cents: 2.75 + 0.5 },
    })
    for (const { headers, text } of told) {
      const timestamp = headers.get('portico-timestamp') ?? ''
      expect(headers.get('portico-signature')).toBe(await signature(secret, timestamp, text))
    }
    await expect
      .poll(async () => (await deliveries(hook)).map(({ state }) => state))
      .toEqual(whole.map(() => 'delivered'))
    const log = await deliveries(hook)
    expect(log[0]).toMatchObject({ event: 'sandbox.destroyed', sandbox_id: id, attempts: 1, last_status: 200 })
    expect(log.map(({ id: delivery }) => delivery).toReversed()).toEqual(
      told.map(({ headers }) => headers.get('portico-delivery')),
    )
  })

  test('of which the receiver would not hear is told again by the alarm, after the loss of memory, too', async () => {
    status = 500
    const { id: hook } = await make({ url, events: ['sandbox.running'] })
    await scene.connected()
    const { id } = await scene.created()
    await expect.poll(async () => (await deliveries(hook))[0]).toMatchObject({ state: 'pending', last_status: 500 })
    await evictDurableObject(account())
    status = 200
    await runInDurableObject(account(), async (_object, { storage }) => {
      expect(await storage.getAlarm()).not.toBeNull()
      storage.sql.exec('UPDATE deliveries SET next_at = 0, ready_at = 0')
    })
    await runDurableObjectAlarm(account())
    expect((await deliveries(hook))[0]).toMatchObject({ state: 'delivered', next_attempt_at: null })
    expect(events(id).length).toBeGreaterThan(1)
    expect(new Set(told.map(({ headers }) => headers.get('portico-delivery'))).size).toBe(1)
  })

  test('that could not be made because there was no runner is nothing to tell of', async () => {
    await make()
    const refused = await refusal('/v1/runs', { key: scene.tenant.key, json: { image: 'python' } })
    expect(refused).toMatchObject({ code: 'no_runner' })
    await runDurableObjectAlarm(account())
    expect(told).toEqual([])
  })
})
