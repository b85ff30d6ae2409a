/** Keys through the API: scopes, expiry, last use, rotation of the secret they are signed with. */

import { evictDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import { FakeClock } from '@portico/shared/clock'
import { describe, expect, test } from 'vitest'
import { buildApp } from '../src/app.ts'
import type { Env } from '../src/env.ts'
import type { Key } from '../src/ports.ts'
import { table } from '../src/routes/table.ts'
import { adminKey, answer, ask, newTenant, refusal } from './client.ts'

const keysOf = async (account: string) =>
  (await answer<{ keys: Key[] }>(`/admin/accounts/${account}/keys`, { key: adminKey })).keys
const makeKey = (account: string, json: object = {}) =>
  answer<Key & { key: string }>(`/admin/accounts/${account}/keys`, {
    key: adminKey,
    json: { region: 'local', ...json },
  })
const send = (app: ReturnType<typeof buildApp>, key: string, bindings: Env = env, path = '/v1/images') =>
  app.request(`http://portico.test${path}`, { headers: { authorization: `Bearer ${key}` } }, bindings)

describe('a key', () => {
  test('has a scope and an expiry, both shown, and its secret never again', async () => {
    const { account } = await newTenant()
    const made = await makeKey(account, { name: 'ci', scope: 'exec-only', expires_in: 3600 })
    expect(Date.parse(made.expires_at ?? '') - Date.parse(made.created_at)).toBe(3_600_000)
    const { key, ...shown } = made
    expect(shown).toMatchObject({ name: 'ci', scope: 'exec-only', last_used_at: null, revoked_at: null })
    expect(await keysOf(account)).toContainEqual(shown)
    expect(JSON.stringify(await keysOf(account))).not.toContain(key.slice(-52))
  })

  test.each([
    [{ scope: 'admin' }],
    [{ expires_in: 0 }],
    [{ expires_in: 1.5 }],
    [{ expires_in: 1e10 }],
    [{ name: '' }],
    [{ region: 'mars' }],
  ])('is not made of %j', async (json) => {
    const { account } = await newTenant()
    const refused = await refusal(`/admin/accounts/${account}/keys`, {
      key: adminKey,
      json: { region: 'local', ...json },
    })
    expect(refused).toMatchObject({ status: 400, code: 'invalid_request' })
    expect(await keysOf(account)).toHaveLength(1)
  })

  test('is refused from its expiry on, by isolates that know it and by others', async () => {
    const { account } = await newTenant()
    const { key } = await makeKey(account, { expires_in: 60 })
    const clock = new FakeClock(Date.now())
    const app = buildApp(table, clock)
    await clock.advance(55_000)
    expect((await send(app, key)).status).toBe(200)
    await clock.advance(5_001)
    const late = await send(app, key)
    expect([late.status, ((await late.json()) as { error: string }).error]).toEqual([
      401,
      'cannot enter: the API key has expired',
    ])
    expect((await send(buildApp(table, clock), key)).status).toBe(401)
  })

  test('tells the minute of its last use, and a revoked or unused one no other', async () => {
    const { account } = await newTenant()
    const [used, unused, gone] = [await makeKey(account), await makeKey(account), await makeKey(account)]
    await answer(`/admin/accounts/${account}/keys/${gone.id}`, { method: 'DELETE', key: adminKey })
    const before = Date.now()
    expect((await send(buildApp(table), used.key)).status).toBe(200)
    expect((await send(buildApp(table), gone.key)).status).toBe(401)
    await evictDurableObject(env.ACCOUNTS.get(env.ACCOUNTS.idFromName(account)))
    const byId = new Map((await keysOf(account)).map((one) => [one.id, one.last_used_at]))
    expect(byId.get(used.id)).toMatch(/T\d\d:\d\d:00\.000Z$/)
    expect(Math.abs(Date.parse(byId.get(used.id) ?? '') - before)).toBeLessThanOrEqual(60_000)
    expect([byId.get(unused.id), byId.get(gone.id)]).toEqual([null, null])
  })

  test.each(['read-only', 'exec-only'] as const)('of scope %s is refused what it may not, by name', async (scope) => {
    const { account } = await newTenant()
    const { key } = await makeKey(account, { scope })
    expect((await ask('/v1/images', { key })).status).toBe(200)
    const refused = await refusal('/v1/runs', { key, json: { image: 'python' } })
    expect(refused).toMatchObject({ status: 403, code: 'forbidden', retryable: false })
    expect(refused.error).toContain(scope)
  })
})

describe('the secret that signs keys', () => {
  test('is replaced without a key being refused, and new keys are of the new one', async () => {
    const { account, key: old } = await newTenant()
    const next = `${'n'.repeat(40)}`
    const rotating: Env = { ...env, PORTICO_SECRET: next, PORTICO_SECRET_PREVIOUS: env.PORTICO_SECRET }
    const rotated: Env = { ...env, PORTICO_SECRET: next }
    const app = buildApp(table)
    expect((await send(app, old, rotating)).status).toBe(200)
    const made = await app.request(
      `http://portico.test/admin/accounts/${account}/keys`,
      {
        method: 'POST',
        headers: { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ region: 'local' }),
      },
      rotating,
    )
    const { key: fresh } = (await made.json()) as { key: string }
    expect((await send(buildApp(table), fresh, rotated)).status).toBe(200)
    expect((await send(buildApp(table), old, rotated)).status).toBe(401)
    expect((await send(buildApp(table), fresh)).status).toBe(401)
  })
})
