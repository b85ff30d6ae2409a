/** The store of a sandbox through the API: values in its record, with no machine behind them. */

import { evictAllDurableObjects, runInDurableObject } from 'cloudflare:test'
import { env } from 'cloudflare:workers'
import type { ForkResponse, StoreEntry, StoreKeys } from '@portico/shared/api'
import { describe, expect, test } from 'vitest'
import { answer, ask, read, refusal } from './client.ts'
import { RunnerScene } from './runner-scene.ts'

const scene = new RunnerScene()
const at = (id: string, path: string) => `/v1/runs/${id}/store${path}`
const set = (id: string, key: string, json: object) =>
  ask(at(id, `/${encodeURIComponent(key)}`), { method: 'PUT', key: scene.tenant.key, json })
const get = (id: string, key: string) =>
  answer<StoreEntry>(at(id, `/${encodeURIComponent(key)}`), { key: scene.tenant.key })
const missing = (id: string, key: string) => refusal(at(id, `/${encodeURIComponent(key)}`), { key: scene.tenant.key })
const batch = (id: string, operations: object[]) =>
  ask(at(id, '/batch'), { key: scene.tenant.key, json: { operations } })
const keys = (id: string, query = '') => answer<StoreKeys>(at(id, query), { key: scene.tenant.key })

/** Lets everything with a time to live expire. */
async function expireAll(id: string): Promise<void> {
  const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id))
  await runInDurableObject(object, (_object, { storage }) => {
    storage.sql.exec('UPDATE store SET expires_at = 1 WHERE expires_at IS NOT NULL')
  })
}

describe('a value', () => {
  test.each([[null], [0], ['text'], [[1, [2]]], [{ step: 3, deep: { é: [true] } }]])(
    '%j is set, read and deleted',
    async (value) => {
      await scene.connected()
      const { id } = await scene.created()
      expect(await (await set(id, 'progress', { value })).json()).toEqual({ ok: true })
      expect(await get(id, 'progress')).toEqual({ key: 'progress', value, expires_at: null })
      const remove = () => answer(at(id, '/progress'), { method: 'DELETE', key: scene.tenant.key })
      expect(await remove()).toEqual({ ok: true, deleted: true })
      expect(await remove()).toEqual({ ok: true, deleted: false })
      expect(await missing(id, 'progress')).toMatchObject({
        status: 404,
        code: 'not_found',
        error: 'cannot read progress: there is no value',
      })
    },
  )

  test('keeps names of fields as they are, whatever they are called', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const body = '{"value":{"__proto__":{"a":1},"constructor":2}}'
    await ask(at(id, '/x'), { method: 'PUT', key: scene.tenant.key, body })
    const text = await (await ask(at(id, '/x'), { key: scene.tenant.key })).text()
    expect(text).toContain('{"__proto__":{"a":1},"constructor":2}')
  })

  test.each(['a/b', 'a b', '%2F', '100%', '?#&=+', 'é/ü', 'batch', 'a/../b', '"'])(
    'is found by the key %j',
    async (key) => {
      await scene.connected()
      const { id } = await scene.created()
      expect((await set(id, key, { value: key })).status).toBe(200)
      expect(await get(id, key)).toEqual({ key, value: key, expires_at: null })
      expect((await keys(id)).keys).toEqual([key])
    },
  )

  test('expires with its time to live', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const before = Date.now()
    await set(id, 'temp', { value: 1, ttl_seconds: 3600 })
    const { expires_at } = await get(id, 'temp')
    expect(Date.parse(expires_at ?? '')).toBeGreaterThanOrEqual(before + 3_600_000 - 1000)
    expect(Date.parse(expires_at ?? '')).toBeLessThanOrEqual(Date.now() + 3_600_000)
    await expireAll(id)
    expect(await missing(id, 'temp')).toMatchObject({ status: 404, code: 'not_found' })
    expect((await keys(id)).keys).toEqual([])
  })

  test.each([
    [{}, 'invalid_request'],
    [{ value: 1, ttl_seconds: 0 }, 'invalid_request'],
    [{ value: 1, ttl_seconds: 315_360_001 }, 'invalid_request'],
    [{ value: 'x'.repeat(262_143) }, 'payload_too_large'],
  ])('is refused: %#', async (json, code) => {
    await scene.connected()
    const { id } = await scene.created()
    expect(await read(await set(id, 'x', json))).toMatchObject({ code })
    expect((await keys(id)).keys).toEqual([])
  })

  test('that is nested beyond measure is taken or refused, not failed at', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const body = `{"value":${'['.repeat(100_000)}${']'.repeat(100_000)}}`
    const { status } = await ask(at(id, '/x'), { method: 'PUT', key: scene.tenant.key, body })
    expect(status).toBeLessThan(500)
  })
})

describe('a batch', () => {
  test('is done as a whole', async () => {
    await scene.connected()
    const { id } = await scene.created()
    await set(id, 'temp', { value: 1 })
    const done = await batch(id, [
      { op: 'set', key: 'result', value: { score: 0.95 } },
      { op: 'delete', key: 'temp' },
      { op: 'delete', key: 'never' },
    ])
    expect(await done.json()).toEqual({ ok: true, applied: 3 })
    expect((await keys(id)).keys).toEqual(['result'])
    const refused = await batch(id, [
      { op: 'delete', key: 'result' },
      { op: 'set', key: 'k'.repeat(513), value: 1 },
    ])
    expect(await read(refused)).toMatchObject({ status: 400, code: 'invalid_request' })
    expect((await keys(id)).keys).toEqual(['result'])
  })

  test('is done in its order: the last word on a key holds, and is counted once', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const done = await batch(id, [
      { op: 'set', key: 'twice', value: 'first, and longer', ttl_seconds: 60 },
      { op: 'set', key: 'twice', value: 2 },
      { op: 'set', key: 'gone', value: 1 },
      { op: 'delete', key: 'gone' },
      { op: 'delete', key: 'back' },
      { op: 'set', key: 'back', value: 3 },
    ])
    expect(await done.json()).toEqual({ ok: true, applied: 6 })
    expect((await keys(id)).keys).toEqual(['back', 'twice'])
    expect(await get(id, 'twice')).toEqual({ key: 'twice', value: 2, expires_at: null })
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id))
    const total = await runInDurableObject(object, (_object, { storage }) =>
      storage.sql.exec('SELECT keys, bytes FROM store_total').one(),
    )
    expect(total).toEqual({ keys: 2, bytes: 2 })
  })

  test('whose values are much longer when written out is refused', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const value = `[${'1e20,'.repeat(11_000)}0]`
    const operations = Array.from({ length: 145 }, (_, index) => `{"op":"set","key":"k${index}","value":${value}}`)
    const body = `{"operations":[${operations.join(',')}]}`
    const refused = await ask(at(id, '/batch'), { method: 'POST', key: scene.tenant.key, body })
    expect(await read(refused)).toMatchObject({ status: 413, code: 'payload_too_large' })
    expect((await keys(id)).keys).toEqual([])
  })

  test('of more than 1,000 is refused', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const many = Array.from({ length: 1001 }, (_, index) => ({ op: 'set', key: `k${index}`, value: 0 }))
    expect(await read(await batch(id, many))).toMatchObject({ status: 400, code: 'invalid_request' })
    expect((await batch(id, many.slice(0, 1000))).status).toBe(200)
  })
})

test('keys are listed page by page in the order of their bytes', async () => {
  await scene.connected()
  const { id } = await scene.created()
  const names = ['run_1', 'run_10', 'run_2', 'é', 'Z', 'run\u{ffff}', 'run\u{10000}']
  await batch(
    id,
    names.map((key) => ({ op: 'set', key, value: 0 })),
  )
  expect(await keys(id)).toEqual({
    keys: ['Z', 'run_1', 'run_10', 'run_2', 'run\u{ffff}', 'run\u{10000}', 'é'],
    truncated: false,
  })
  expect(await keys(id, '?prefix=run_&limit=2')).toEqual({ keys: ['run_1', 'run_10'], truncated: true })
  expect(await keys(id, '?prefix=run_&limit=2&after=run_10')).toEqual({ keys: ['run_2'], truncated: false })
  expect(await keys(id, '?prefix=none')).toEqual({ keys: [], truncated: false })
  for (const query of ['?limit=0', '?limit=1001', '?limit=x']) {
    expect(await refusal(at(id, query), { key: scene.tenant.key })).toMatchObject({ status: 400 })
  }
})

describe('the store', () => {
  test('survives the loss of memory, works while the sandbox sleeps, and goes with it', async () => {
    await scene.connected()
    const { id } = await scene.created()
    await set(id, 'a', { value: 1 })
    await evictAllDurableObjects()
    expect(await get(id, 'a')).toMatchObject({ value: 1 })
    expect((await scene.post(`${id}/hibernate`)).status).toBe(200)
    expect((await set(id, 'b', { value: 2 })).status).toBe(200)
    expect(await keys(id)).toEqual({ keys: ['a', 'b'], truncated: false })
    await answer(`/v1/runs/${id}`, { method: 'DELETE', key: scene.tenant.key })
    expect(await missing(id, 'a')).toMatchObject({ status: 404, code: 'sandbox_not_found' })
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id))
    const left = () =>
      runInDurableObject(object, (_object, { storage }) => storage.sql.exec('SELECT * FROM store').toArray().length)
    expect(await left()).toBe(0)
  })

  test('is copied to the children of a fork, which then have it to themselves', async () => {
    await scene.connected()
    const { id } = await scene.created()
    const large = 'x'.repeat(200_000)
    for (let index = 0; index < 6; index++) await set(id, `large${index}`, { value: large + index })
    await batch(id, [
      { op: 'set', key: 'kept', value: { a: 1 }, ttl_seconds: 3600 },
      { op: 'set', key: 'expired', value: 1, ttl_seconds: 1 },
    ])
    const object = env.SANDBOXES.get(env.SANDBOXES.idFromName(id))
    await runInDurableObject(object, (_object, { storage }) => {
      storage.sql.exec("UPDATE store SET expires_at = 1 WHERE key = 'expired'")
    })
    const { forks } = (await (await scene.post(`${id}/fork`, { count: 2 })).json()) as ForkResponse
    expect(forks).toHaveLength(2)
    const expected = ['kept', ...Array.from({ length: 6 }, (_, index) => `large${index}`)]
    for (const child of forks) {
      expect((await keys(child.id)).keys).toEqual(expected)
      expect(await get(child.id, 'kept')).toEqual(await get(id, 'kept'))
      expect((await get(child.id, 'large5')).value).toBe(`${large}5`)
    }
    const [first, second] = forks.map((child) => child.id)
    await set(first ?? '', 'kept', { value: 'mine' })
    await set(id, 'later', { value: 1 })
    expect(await get(second ?? '', 'kept')).toMatchObject({ value: { a: 1 } })
    expect((await keys(second ?? '')).keys).toEqual(expected)
    expect((await keys(id)).keys).toEqual([
      ...expected.slice(0, 1),
      'large0',
      'large1',
      'large2',
      'large3',
      'large4',
      'large5',
      'later',
    ])
  })

  test('is not in the audit log', async () => {
    await scene.connected()
    const { id } = await scene.created()
    await set(id, 'a-key', { value: 'a-value' })
    await get(id, 'a-key')
    const log = await (await ask(`/v1/runs/${id}/audit`, { key: scene.tenant.key })).text()
    expect(log).not.toMatch(/a-key|a-value|store/)
  })
})
